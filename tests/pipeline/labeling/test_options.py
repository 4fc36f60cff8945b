"""The options of a labeling run become what its workers are given."""

from pipeline.labeling.flags import parser
from pipeline.labeling.options import LabelOptions
from workers.decoding import DecodeLimits


def options(**given: float) -> LabelOptions:
    return LabelOptions("k400", "videos", "out", "demo", **given)


def test_limits_of_time_are_the_usual_ones_unless_they_are_given() -> None:
    assert options().limits == DecodeLimits()
    assert options(fetch_s=600).limits == DecodeLimits(fetch_seconds=600)
    assert options(decode_s=7200).limits == DecodeLimits(seconds=7200)


def test_both_limits_can_be_set_by_flags() -> None:
    read = parser("k400").parse_args(["--fetch-timeout", "10m", "--decode-timeout", "2h"])
    assert (read.fetch_s, read.decode_s) == (600, 7200)
