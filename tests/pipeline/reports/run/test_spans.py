"""When a run was at work: attempts that ended, were killed, or are not known."""

import numpy as np
import pytest

from pipeline.reports.run.spans import Span, rates, span_of, spans


def iso(second, zone="+00:00"):
    return f"2026-11-24T10:{second // 60:02d}:{second % 60:02d}{zone}"


ZERO = spans([{"began": iso(0), "ended": iso(0)}], np.zeros(0))[0].began


def test_an_attempt_lasts_from_its_beginning_to_its_end():
    found = spans([{"began": iso(0), "ended": iso(50)}], np.array([ZERO + 20]))
    assert found == [Span(ZERO, ZERO + 50)]


def test_a_killed_attempt_ends_with_its_last_row_before_the_next():
    at = ZERO + np.array([70.0, 10.0, 30.0])
    attempts = [{"began": iso(0), "ended": None}, {"began": iso(60), "ended": None}]
    assert spans(attempts, at) == [Span(ZERO, ZERO + 30), Span(ZERO + 60, ZERO + 70)]


def test_an_attempt_that_was_killed_before_its_first_row_took_no_time_that_is_known():
    attempts = [{"began": iso(0), "ended": None}, {"began": iso(60), "ended": iso(90)}]
    assert [span.seconds for span in spans(attempts, ZERO + np.array([70.0]))] == [0.0, 30.0]
    assert spans(attempts[:1], np.zeros(0)) == [Span(ZERO, ZERO)]


def test_a_killed_attempt_without_rows_does_not_end_before_it_began():
    attempts = [
        {"began": iso(0), "ended": iso(20)},
        {"began": iso(60), "ended": None},
        {"began": iso(90), "ended": iso(95)},
    ]
    assert [span.seconds for span in spans(attempts, ZERO + np.array([10.0]))] == [20.0, 0.0, 5.0]


def test_times_without_a_zone_are_utc():
    assert spans([{"began": iso(0, ""), "ended": iso(9, "")}], np.zeros(0)) == [
        Span(ZERO, ZERO + 9)
    ]


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
