"""Progress: a line that says where the run stands."""

import io
from collections import Counter

from pipeline.counts import Counts
from pipeline.progress import ProgressLine, clock
from pipeline.stages import Stage, Stages


class Terminal(io.StringIO):
    def isatty(self):
        return True


def line(**settings):
    return ProgressLine(total=100, before=Counts(), started=0.0, **settings)


def test_the_line_counts_rates_and_estimates():
    text = line().text(Counts(20, Counter(corrupt=1), 200.0), now=10.0)
    assert text == (
        "20/100 videos, 1 failed, 0.0556 of about 0.278 video-hours labelled, 2 videos/s (20x real "
        "time), ETA 0:40"
    )


def test_before_the_first_result_there_is_no_estimate():
    assert (
        line().text(Counts(), now=3.0) == "0/100 videos, 0 failed, 0 video-hours labelled, starting"
    )


def test_what_earlier_starts_finished_counts_but_does_not_speed_up_the_estimate():
    resumed = ProgressLine(total=100, before=Counts(50, Counter(corrupt=3), 500.0), started=0.0)
    text = resumed.text(Counts(10, Counter(timeout=1), 100.0), now=10.0)
    assert text.startswith(
        "60/100 videos, 4 failed, 0.167 of about 0.278 video-hours labelled, 1 videos/s"
    )
    assert text.endswith("ETA 0:40")


def test_a_log_gets_plain_lines_and_a_terminal_one_line_that_changes():
    log, terminal = io.StringIO(), Terminal()
    for out in (log, terminal):
        shown = line(out=out)
        shown.write("one")
        shown.write("two")
        shown.finish()
    assert log.getvalue() == "one\ntwo\n"
    assert terminal.getvalue() == "\r\x1b[Kone\r\x1b[Ktwo\n"


def test_clock_shows_hours_only_when_there_are_any():
    assert [clock(s) for s in (0, 59.6, 61, 3600, 360000)] == [
        "0:00",
        "1:00",
        "1:01",
        "1:00:00",
        "100:00:00",
    ]


def test_the_units_of_a_timeline_are_stretches():
    text = line(what="stretches").text(Counts(20, Counter(), 200.0), now=10.0)
    assert text.startswith("20/100 stretches, 0 failed")
    assert "2 stretches/s" in text


def test_failures_are_told_by_reason_the_most_frequent_first():
    counts = Counts(9, Counter(forbidden=1, not_found=3)) + Counts(2, Counter(forbidden=1))
    assert counts.reasons() == "3 not_found, 2 forbidden"
    assert (counts.units, counts.failed) == (11, 5)


def test_how_busy_the_stages_are_is_told_where_it_is_known():
    work = {"units": 20, "began": 0.0, "ended": 10.0}
    stages = Stages(
        Stage(actors=2, busy_s=19.0, **work),
        Stage(actors=1, busy_s=4.0, views=60, slots=60, **work),
    )
    text = line().text(Counts(20, Counter(), 200.0), stages, now=10.0)
    assert text.endswith("ETA 0:40, decoders 95 % busy, labellers 40 %")


def test_the_end_is_estimated_by_bytes_since_large_files_come_first():
    large_first = ProgressLine(total=100, before=Counts(), total_bytes=1000, started=0.0)
    counts = Counts(10, Counter(), 1800.0, size_bytes=500)
    assert large_first.remaining_s(counts, now=60.0) == 60.0
    assert "0.5 of about 1 video-hours" in large_first.text(counts, now=60.0)
    assert large_first.remaining_s(Counts(), now=60.0) is None


def test_how_many_labels_are_kept_is_told_where_a_sample_is_labelled_without_pruning():
    text = line().text(Counts(20, Counter(), 200.0, shadow=8, agreeing=7), now=10.0)
    assert "87.5 % of 8 as without pruning" in text
