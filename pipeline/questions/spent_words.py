"""What a question took, in words."""

from __future__ import annotations

from pipeline.formatting import digits, duration, money
from pipeline.questions.spent import QuestionCost, Spent
from pipeline.questions.unit_work import Work

# From so many seconds on, hours are easier to read.
_HOURS_FROM = 2 * 3600


def device_time(spent: Spent | Work) -> str:
    """Such as `410 core-seconds` or `12.3 GPU-hours and 40 core-seconds`."""
    parts = [_time(spent.gpu_s, "GPU")] if spent.gpu_s else []
    return " and ".join([*parts, _time(spent.core_s, "core")])


def cost_tiles(cost: QuestionCost, units_are: str) -> list[tuple[str, str, str]]:
    """(figure, name, note) of time and, where there are prices, of money."""
    runs, every = cost.runs, cost.all if cost.is_extrapolated else None
    more = "" if every is None else f"labeling all {units_are}: about {device_time(every)}"
    tiles = [(device_time(runs), "work", more)]
    if cost.currency is not None:
        of_all = "" if every is None else money(every.work, cost.currency)
        more = f"labeling all {units_are}: about {of_all}" if of_all else ""
        tiles.append((money(runs.work, cost.currency), "for the work", more))
    return tiles


def cost_facts(cost: QuestionCost, units_are: str) -> list[tuple[str, str]]:
    """`cost_lines` as (name, words)."""
    parts = (line.split(":", 1) for line in cost_lines(cost, units_are))
    return [(name.lower(), words.strip()) for name, words in parts]


def cost_lines(cost: QuestionCost, units_are: str) -> list[str]:
    """Time and, where there are prices, money, of the question and of everything by the reference;
    one line each, to be wrapped.
    """
    runs, every = cost.runs, cost.all
    time = f"Time:      {device_time(runs)} of work"
    time += _clock(runs)
    if cost.further:
        time += f" (with {cost.further:,} {units_are} that the runs hold beyond this answer)"
    paid = f"Money:     {_money(runs, cost.currency)}, busy or not"
    if every is not None and cost.is_extrapolated:
        assert cost.reference is not None
        time += f"; {_all(units_are)} about {device_time(every)}"
        time += _clock(every)
        time += f" (extrapolated from {cost.reference.units:,} {units_are})"
        paid += f"; {_all(units_are)} about {_money(every, cost.currency)} (extrapolated)"
    return [time] if cost.currency is None else [time, paid]


def _all(units_are: str) -> str:
    return f"all {units_are} by the reference would take"


def _clock(spent: Spent) -> str:
    if spent.wall_s is None:
        return ""
    times = "once" if spent.attempts == 1 else f"{spent.attempts} times"
    return (
        f", in {duration(spent.wall_s)}, {duration(spent.start_s)} of it to start and end {times}"
    )


def _money(spent: Spent, currency: str | None) -> str:
    said = f"{money(spent.work, currency or '')} for the work"
    if spent.cluster is not None:
        said += f", {money(spent.cluster, currency or '')} for the cluster"
    return said


def _time(seconds: float, what: str) -> str:
    if seconds >= _HOURS_FROM:
        return f"{digits(seconds / 3600)} {what}-hours"
    return f"{digits(seconds)} {what}-seconds"
