"""Labeling rates over time."""

import numpy as np
import pytest

from pipeline.reports.run.spans import rates, span_of
from pipeline.run.attempt_rows import Span


def test_a_run_that_says_nothing_of_attempts_has_the_span_of_its_rows():
    assert span_of(np.array([5.0, 2.0, 9.0])) == [Span(2.0, 9.0)]
    assert span_of(np.zeros(0)) == []


def test_rates_are_counts_over_the_length_of_their_bins_and_leave_pauses_out():
    among = [Span(0.0, 10.0), Span(1000.0, 1020.0)]
    at = np.concatenate([np.arange(10) + 0.5, 1000 + np.arange(0.25, 20, 0.5)])
    first, second = rates(among, at, np.full(len(at), 6.0))
    assert first.units == pytest.approx(np.ones(len(first.units)), abs=0.5)
    assert second.units.mean() == pytest.approx(2.0)
    assert second.video.mean() == pytest.approx(12.0)
    assert (first.edges[0], first.edges[-1]) == (0.0, 10.0)
    assert (second.edges[0], second.edges[-1]) == (1000.0, 1020.0)
    assert np.diff(first.edges)[0] == pytest.approx(np.diff(second.edges)[0], rel=0.2)


def test_rows_of_a_clock_that_is_ahead_or_behind_are_counted_at_the_edge():
    among = [Span(100.0, 110.0), Span(200.0, 210.0)]
    found = rates(among, np.array([99.0, 111.0, 205.0, 212.0]), np.ones(4))
    counts = [float(each.units @ np.diff(each.edges)) for each in found]
    assert counts == pytest.approx([2.0, 2.0])


def test_there_is_no_rate_where_no_time_went_by():
    assert rates([Span(5.0, 5.0)], np.array([5.0]), np.ones(1)) == []
    assert rates([], np.zeros(0), np.zeros(0)) == []
    assert rates([Span(0.0, 9.0)], np.zeros(0), np.zeros(0)) == []
