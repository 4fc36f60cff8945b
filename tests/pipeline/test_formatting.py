"""Numbers as people read them, however large a run is."""

import pytest

from pipeline import formatting
from pipeline.execution.progress import ProgressLine
from pipeline.formatting import digits, quantity, short
from pipeline.run.counts import Counts


def test_numbers_are_read_without_powers_of_ten():
    assert [digits(each) for each in (0.0000123, 0.5, 12.345, 999.6, 1234.5, 0)] == [
        "0.0000123", "0.5", "12.3", "1000", "1,234", "0",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        (quantity(999.96e9, "FLOPs"), "1000 GFLOPs"),
        (quantity(1.5e12, "FLOPs"), "1.5 TFLOPs"),
        (quantity(4.2e21, "FLOPs"), "4,200 EFLOPs"),
        (formatting.byte_size(999_960_000), "1000 MB"),
        (formatting.byte_size(2.5e15), "2,500 TB"),
        (formatting.duration(0.99996), "1000 ms"),
    ],
)
def test_the_largest_of_a_unit_and_what_has_no_larger_one_are_plain(said, wanted):
    assert said == wanted


def test_numbers_of_a_live_line_have_three_digits_at_most():
    told = {0: "0", 0.00123: "0.0012", 1.25: "1.2", 12.34: "12.3", 99.96: "100", 999.4: "999"}
    told |= {999.6: "1k", 102_345: "102k", 999_999: "1M", 1.234e7: "12.3M", 5e12: "5,000G"}
    assert [short(each) for each in told] == list(told.values())


def test_the_line_of_a_year_of_video_is_plain():
    line = ProgressLine(total=10**8, before=Counts(), started=0.0)
    parts = line.parts(Counts(10**7, seconds=1234.5e4 * 3600), now=1000.0)
    assert "12.3M of about 123M video-hours" in parts
    assert "10k videos/s" in parts


def test_a_table_for_a_terminal_has_its_columns_under_each_other():
    rows = [("", "r", "FLOPs"), ("pruned", "22", "49"), ("unpruned", "0", "100")]
    assert formatting.text_table(rows) == [
        "           r  FLOPs",
        "pruned    22     49",
        "unpruned   0    100",
    ]
    assert formatting.text_table(rows, left=range(3))[0] == "          r   FLOPs"
