"""Plots of a run report: no two ticks of a time axis have the same words."""

import pytest

from pipeline.reports.run.plots import _Axis, _ticks

BEGAN = 1_795_000_000.37


@pytest.mark.parametrize("seconds", [0.003, 0.05, 0.4, 0.9, 3.7, 4.1, 59, 1199, 1300, 9e4])
def test_the_ticks_of_one_attempt_differ_however_short_it_is(seconds):
    spans = [{"began": BEGAN, "ended": BEGAN + seconds}]
    words = [each for _, each in _ticks(spans, _Axis.of(spans))]
    assert len(set(words)) == len(words) == 5


@pytest.mark.parametrize("seconds", [0.2, 2, 60, 4000])
def test_the_ticks_of_several_attempts_differ(seconds):
    spans = [
        {"began": BEGAN + 2 * number * seconds, "ended": BEGAN + (2 * number + 1) * seconds}
        for number in range(4)
    ]
    words = [each for _, each in _ticks(spans, _Axis.of(spans))]
    assert len(set(words)) == len(words) >= 2


def test_only_short_runs_have_parts_of_a_second():
    for seconds, digits in ((4.0, 0), (2.0, 1), (0.3, 2)):
        spans = [{"began": BEGAN, "ended": BEGAN + seconds}]
        words = _ticks(spans, _Axis.of(spans))[0][1]
        assert len(words.partition(".")[2]) == digits
