"""The passes of a run: a quick one, and a last one for what waits for the end."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace

import pytest

from pipeline.labeling import attempt as one_attempt
from pipeline.labeling.attempt import LabelRun
from pipeline.run.counts import Counts

UNITS = 3


def passes(
    monkeypatch: pytest.MonkeyPatch, states: list[Counts], *, decoders: int = 1
) -> tuple[list[bool], list[list[str]]]:
    """Whether each pass was quick, and what was withdrawn; ``states`` are the rows before them."""
    states, quick, withdrawn = list(states), [], []
    monkeypatch.setattr(one_attempt, "committed", lambda directory: states.pop(0))
    monkeypatch.setattr(one_attempt, "_account", lambda *given: {"label": {"units": 1}})
    monkeypatch.setattr(
        one_attempt, "withdraw_failed", lambda directory, types: withdrawn.append(types) or 1
    )
    attempt = LabelRun.__new__(LabelRun)
    attempt._sample = None
    attempt._directory = None
    attempt._options = SimpleNamespace(decoders=None, max_failed=None, budget=None)
    identity = SimpleNamespace(units_are="videos")
    attempt._plan = SimpleNamespace(identity=identity, early_exit_file=None)
    graph = SimpleNamespace(
        total=UNITS,
        pools=SimpleNamespace(decoders=(1, decoders)),
        run_graph=lambda counts, **how: quick.append(how["quick"]),
    )
    attempt._label_rest(SimpleNamespace(update=lambda change: None), graph)
    return quick, withdrawn


def counts(units: int, deferred: int = 0) -> Counts:
    return Counts(units, Counter(), deferred=deferred)


def test_a_run_in_which_nothing_waits_has_one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    assert passes(monkeypatch, [counts(0), counts(UNITS)]) == ([True], [])


def test_what_waits_is_done_in_a_last_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    states = [counts(0), counts(2, deferred=1), counts(UNITS)]
    assert passes(monkeypatch, states) == ([True, False], [["deferred"]])


def test_a_run_that_ended_between_its_passes_goes_on_with_the_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    states = [counts(2, deferred=1), counts(UNITS)]
    assert passes(monkeypatch, states) == ([False], [["deferred"]])


def test_no_video_waits_where_all_are_decoded_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    assert passes(monkeypatch, [counts(0), counts(UNITS)], decoders=UNITS)[0] == [False]
