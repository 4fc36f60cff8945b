"""Progress: a line that says where the run stands."""

import io
from collections import Counter

from pipeline.progress import Counts, ProgressLine, clock
from pipeline.stages import Stage, Stages


class Terminal(io.StringIO):
    def isatty(self):
        return True


def line(**settings):
    return ProgressLine(total=100, before=Counts(), started=0.0, **settings)


def test_the_line_counts_rates_and_estimates():
    text = line().text(Counts(20, Counter(corrupt=1), 200.0), now=10.0)
    assert text == (
        "20/100 videos, 1 failed, 3:20 of video labelled, 2 videos/s (20x real time), ETA 0:40"
    )


def test_before_the_first_result_there_is_no_estimate():
    assert (
        line().text(Counts(), now=3.0) == "0/100 videos, 0 failed, 0:00 of video labelled, starting"
    )


def test_what_earlier_starts_finished_counts_but_does_not_speed_up_the_estimate():
    resumed = ProgressLine(total=100, before=Counts(50, Counter(corrupt=3), 500.0), started=0.0)
    text = resumed.text(Counts(10, Counter(timeout=1), 100.0), now=10.0)
    assert text.startswith("60/100 videos, 4 failed, 10:00 of video labelled, 1 videos/s")
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
