"""Progress: a line that says where the run stands."""

import io
import os
import pty
import re
import termios
from collections import Counter

import pytest

from pipeline.execution.progress import ProgressLine, clock, fitted
from pipeline.execution.stage_stats import Stage, Stages
from pipeline.run.counts import Counts

_WORK = {"units": 20, "began": 0.0, "ended": 10.0}
BUSY = Stages(
    Stage(actors=2, busy_s=19.0, **_WORK),
    Stage(actors=1, busy_s=4.0, views=60, slots=60, **_WORK),
)

# A run at each of its moments: the line, what the present attempt did, and the seconds it took.
MOMENTS = {
    "starting": ({"total": 48}, Counts(), 3.0),
    "middle": ({"total": 48}, Counts(20, Counter(corrupt=1), 200.0), 10.0),
    "all failed": ({"total": 48}, Counts(20, Counter(not_found=20)), 10.0),
    "resumed": (
        {"total": 48, "before": Counts(30, Counter(), 300.0)},
        Counts(9, seconds=90.0),
        50.0,
    ),
    "resumed, nothing done yet": (
        {"total": 48, "before": Counts(30, seconds=300.0)},
        Counts(),
        5.0,
    ),
    "large files first": (
        {"total": 10_000, "total_bytes": 10**12},
        Counts(1000, seconds=1e6, size_bytes=10**12 - 1),
        1000.0,
    ),
    "sizes of no file done": (
        {"total": 10_000, "total_bytes": 10**12},
        Counts(5, Counter(empty=5)),
        9.0,
    ),
    "last unit": ({"total": 48}, Counts(47, Counter(), 470.0), 100.0),
    "nothing left": ({"total": 48}, Counts(48, Counter(), 480.0), 100.0),
    "agreement": ({"total": 48}, Counts(20, seconds=200.0, shadow=8, agreeing=7), 10.0),
    "adaptive": (
        {"total": 48, "shadow": "with all views and without pruning"},
        Counts(20, seconds=200.0, shadow=8, agreeing=7),
        10.0,
    ),
    "segments": ({"total": 48, "what": "segments"}, Counts(1, seconds=30.0), 600.0),
    "a year of video": (
        {"total": 10**8, "before": Counts(5 * 10**7, Counter(timeout=123_456), 6.2e10)},
        Counts(10**7, seconds=1234.5e4 * 3600),
        1e6,
    ),
}


class Terminal(io.StringIO):
    def isatty(self):
        return True


def line(**settings):
    return ProgressLine(**{"total": 100, "before": Counts(), "started": 0.0} | settings)


def text(settings, counts, now, **more):
    return ", ".join(line(**settings).parts(counts, now=now, **more))


@pytest.mark.parametrize("moment", MOMENTS)
def test_the_line_fits_every_terminal_and_loses_whole_parts_from_its_end(moment):
    settings, counts, now = MOMENTS[moment]
    parts = line(**settings).parts(counts, BUSY, now=now)
    assert not any(", " in part for part in parts)
    longest = 0
    for width in range(40, 201):
        shown = fitted(parts, width)
        assert len(shown) <= width
        kept = shown.split(", ")
        assert kept == parts[: len(kept)]
        assert len(kept) == len(parts) or len(f"{shown}, {parts[len(kept)]}") > width
        assert len(kept) >= longest
        longest = len(kept)


@pytest.mark.parametrize("moment", MOMENTS)
def test_time_to_go_and_rate_are_there_at_80_columns_and_failures_at_100(moment):
    settings, counts, now = MOMENTS[moment]
    done, share, expected, *rest = line(**settings).parts(counts, BUSY, now=now)
    assert re.fullmatch(r"[\d,]+/[\d,]+ (videos|segments)", done)
    assert re.fullmatch(r"\d+(\.\d)? %", share)
    assert re.fullmatch(
        r"starting|finishing|ETA under a minute|ETA (\d+:)?\d\d?:\d\d|ETA [\d.]+ days", expected
    )
    assert (expected == "starting") == (counts.units == 0)
    assert (expected == "finishing") == (moment == "nothing left")
    assert (share == "100 %") == (moment == "nothing left")
    if counts.units:
        rate, failed, *_ = rest
        assert re.fullmatch(r"[\d.]+k? (videos|segments)/(s|min|h)", rate)
        assert rate in fitted([done, share, expected, *rest], 79).split(", ")
        assert failed in fitted([done, share, expected, *rest], 99).split(", ")


@pytest.mark.parametrize("moment", MOMENTS)
def test_no_number_has_more_digits_than_people_read(moment):
    settings, counts, now = MOMENTS[moment]
    for part in line(**settings).parts(counts, BUSY, now=now)[2:]:
        if not part.startswith("ETA") and not part.endswith("failed"):
            for number in re.findall(r"[\d.,]+", part):
                assert len(number.strip("0.").replace(".", "")) <= 3, part


def test_an_end_is_never_expected_at_once_while_units_are_left():
    for done in range(1, 100):
        for bytes_done in (0, 1, 500, 1000):
            for elapsed in (0.01, 1.0, 60.0, 1e5):
                counts = Counts(done, seconds=10.0 * done, size_bytes=bytes_done)
                said = text({"total_bytes": 1000}, counts, elapsed)
                assert "ETA 0:" not in said
                assert "ETA" in said


def test_the_line_counts_rates_and_estimates():
    assert text({}, Counts(20, Counter(corrupt=1), 200.0), 40.0, stages=BUSY) == (
        "20/100 videos, 20 %, ETA 2:40, 0.5 videos/s, 1 failed, 5x real time, "
        "3.3 of about 16.7 video-minutes, decoders 95 % busy, labelers 40 % busy"
    )


def test_before_the_first_result_there_is_no_estimate():
    assert text({}, Counts(), 3.0) == "0/100 videos, 0 %, starting, 0 failed"


def test_what_is_left_standing_expects_nothing():
    done = Counts(100, Counter(), 1000.0)
    assert text({}, done, 75.0, ended=True).startswith("100/100 videos, 100 %, after 1:15, ")
    assert text({}, Counts(3), 75.0, ended=True).startswith("3/100 videos, 3 %, after 1:15, ")


def test_what_earlier_attempts_finished_counts_but_does_not_speed_up_the_estimate():
    before = {"before": Counts(50, Counter(corrupt=3), 500.0)}
    assert text(before, Counts(10, Counter(timeout=1), 100.0), 100.0) == (
        "60/100 videos, 60 %, ETA 6:40, 6 videos/min, 4 failed, 1x real time, "
        "10 of about 16.7 video-minutes"
    )


def test_the_width_is_that_of_the_terminal_that_is_written_to(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    ours, theirs = pty.openpty()
    try:
        termios.tcsetwinsize(theirs, (24, 44))
        with os.fdopen(os.dup(theirs), "w") as out:
            line(out=out).write(line().parts(Counts(20, seconds=200.0), now=10.0))
        assert os.read(ours, 1000) == b"\r\x1b[K20/100 videos, 20 %, ETA under a minute"
    finally:
        os.close(ours)
        os.close(theirs)


def test_a_log_gets_plain_lines_and_a_terminal_one_line_that_changes():
    log, terminal = io.StringIO(), Terminal()
    for out in (log, terminal):
        shown = line(out=out)
        shown.write(["one", "a"])
        shown.write(["two"])
        shown.finish()
    assert log.getvalue() == "one, a\ntwo\n"
    assert terminal.getvalue() == "\r\x1b[Kone, a\r\x1b[Ktwo\n"


def test_clock_shows_hours_only_when_there_are_any():
    assert [clock(s) for s in (0, 59.6, 61, 3600, 360000)] == [
        "0:00",
        "1:00",
        "1:01",
        "1:00:00",
        "100:00:00",
    ]


def test_failures_are_told_by_reason_the_most_frequent_first():
    counts = Counts(9, Counter(forbidden=1, not_found=3)) + Counts(2, Counter(forbidden=1))
    assert counts.reasons() == "3 not_found, 2 forbidden"
    assert (counts.units, counts.failed) == (11, 5)


def test_the_end_is_estimated_by_units_and_by_bytes_since_large_files_come_first():
    large_first = line(total_bytes=1000)
    counts = Counts(10, Counter(), 1800.0, size_bytes=500)
    by_bytes, by_units = 60.0, 540.0
    assert large_first.remaining_s(counts, now=60.0) == (by_bytes + by_units) / 2
    assert large_first.remaining_s(Counts(), now=60.0) is None


def test_the_whole_length_is_told_where_units_and_bytes_lead_to_the_same():
    alike = line(total_bytes=1000).parts(Counts(20, Counter(), 600.0, size_bytes=240), now=60.0)
    assert "10 of about 45.8 video-minutes" in alike
    apart = line(total_bytes=1000).parts(Counts(20, Counter(), 600.0, size_bytes=700), now=60.0)
    assert "10 video-minutes" in apart


def test_small_files_that_are_left_count_although_they_are_few_bytes():
    nearly_all_bytes = Counts(10, Counter(), 1800.0, size_bytes=1000)
    assert line(total_bytes=1000).remaining_s(nearly_all_bytes, now=60.0) == 270.0


def test_how_many_labels_are_kept_is_told_where_a_sample_is_labeled_without_pruning():
    said = line().parts(Counts(20, Counter(), 200.0, shadow=8, agreeing=7), now=10.0)
    assert "87.5 % of 8 labels the same without pruning" in said
