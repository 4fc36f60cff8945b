"""The report of a calibration: a page that stands alone."""

from __future__ import annotations

from pipeline.numerals import digits
from pipeline.page.render import render
from pipeline.policies import plots, words
from pipeline.policies.calibrate import Calibration
from pipeline.policies.comparison import Comparison, Together

# Shares of views below this are not told.
_LEAST_SHARE = 0.0005


def page(found: Calibration, command: str) -> str:
    """The page, whole.

    Args:
        found: the policy and what speaks for it.
        command: the labelling command that uses the policy.
    """
    adaptive = found.adaptive_r
    return render(
        "policies/report.html.j2",
        title=f"Calibration: how many views {found.architecture} needs",
        facts=_facts(found),
        cards=_cards(found),
        command=command,
        promise=words.percent(found.promise.agreement),
        confidence=words.percent(found.promise.confidence),
        views=found.views,
        curve=plots.curve(found),
        needed=plots.views_needed(found),
        resamplings=None
        if found.resampled is None
        else plots.resamplings(found.resampled, found.promise.agreement),
        held_out=words.held_out(found),
        resampled=words.resampled(found),
        accuracy=None if found.accuracy is None else words.accuracy(found),
        adaptive=adaptive,
        rungs=None if adaptive is None else plots.rungs(adaptive),
        rows=[] if adaptive is None else _rows(adaptive),
        verdict="" if adaptive is None else words.verdict(adaptive),
        shares="" if adaptive is None else _shares(adaptive),
        compared="" if adaptive is None else words.compared(adaptive),
        together=_together(adaptive.together) if adaptive and adaptive.together else [],
    )


def _facts(found: Calibration) -> list[tuple[str, str]]:
    policy = found.policy
    failed = f"; {found.failed:,} more could not be labelled" if found.failed else ""
    return [
        ("Model", words.model(found)),
        ("Weights", policy.model),
        ("Fitted on", f"{policy.videos:,} videos of {policy.source}{failed}"),
        ("Promise", words.promised(found)),
        ("Margin", digits(policy.margin, 6)),
    ]


def _cards(found: Calibration) -> list[tuple[str, str, str]]:
    """(figure, what it is, what to add)."""
    point = found.policy.point
    cards = [
        (f"{digits(100 * found.flops_share)} %", "of the FLOPs", "of all views"),
        (f"{digits(point.views)}", "views per video", f"of {found.views}"),
        (
            words.percent(point.agreement),
            "keep the label of all views",
            f"{words.percent(point.low)} at least",
        ),
    ]
    if found.held_out is not None:
        each = found.held_out.agreement
        cards.append(
            (f"{100 * each.value:.1f} %", "on videos not fitted on", f"of {each.count:,} videos")
        )
    if found.resampled is not None:
        each_of = f"of {found.resampled.count} random halves"
        cards.append((f"{found.resampled.kept}", "keep the promise", each_of))
    return cards


def _rows(found: Comparison) -> list[tuple[str, str, str]]:
    """(what, agreement, what to add) of the comparison's table."""
    fixed = [
        (f"fixed r = {r}", words.interval(each), _cost(flops, found))
        for r, each, flops in zip(found.rs, found.rungs, found.rung_flops, strict=True)
    ]
    cost = _cost(found.flops, found)
    return [
        *fixed,
        ("fixed r at the same FLOPs", words.interval(found.fixed), cost),
        ("the same rungs by lot", words.interval(found.random), cost),
        ("adaptive r", words.interval(found.adaptive), cost),
    ]


def _shares(found: Comparison) -> str:
    parts = ", ".join(
        f"{digits(100 * share)} % of the views r = {r}"
        for r, share in zip(found.rs, found.shares, strict=True)
        if share >= _LEAST_SHARE
    )
    return f"It gave {parts}."


def _cost(flops: float, found: Comparison) -> str:
    """FLOPs of a view as a share of the lowest rung's."""
    return f"{digits(100 * flops / found.rung_flops[0])} %"


def _together(found: Together) -> list[str]:
    ratio = found.flops_ratio
    return [
        f"With adaptive views, each fitted to the promise against its own full protocol, a video "
        f"took {digits(100 * ratio.value)} % ({digits(100 * ratio.low)} to "
        f"{digits(100 * ratio.high)}) of the FLOPs that it took at the fixed r; the agreement "
        f"with the lowest rung differed by {words.points(found.difference)}."
    ]
