"""The options of a labeling run become what its workers are given."""

import dataclasses

from pipeline.flags import FLAGS
from pipeline.labeling.flags import parser
from pipeline.labeling.job import options_from
from pipeline.labeling.options import LabelOptions
from workers.decoding import DecodeLimits


def options(**given: float) -> LabelOptions:
    return LabelOptions("k400", "videos", "out", "demo", **given)


def test_limits_of_time_are_the_usual_ones_unless_they_are_given() -> None:
    assert options().limits == DecodeLimits()
    assert options(fetch_s=600).limits == DecodeLimits(fetch_seconds=600)
    assert options(decode_s=7200).limits == DecodeLimits(seconds=7200)


def test_every_field_that_declares_a_flag_is_a_flag() -> None:
    declared = {each.name for each in dataclasses.fields(LabelOptions) if FLAGS in each.metadata}
    assert declared
    assert declared <= vars(parser("k400").parse_args([])).keys()


def test_both_limits_can_be_set_by_flags() -> None:
    read = parser("k400").parse_args(["--fetch-timeout", "10m", "--decode-timeout", "2h"])
    assert (read.fetch_s, read.decode_s) == (600, 7200)


def test_the_flags_that_were_given_are_kept_without_secrets() -> None:
    words = ["videos", "out", "--checkpoint", "https://host/c.pth?X-Amz-Signature=secret"]
    read = parser("k400").parse_args([*words, "--r", "8", "--shadow-share", "1%"])
    assert options_from("k400", read).flags == {
        "input": "videos",
        "output": "out",
        "checkpoint": "https://host/c.pth",
        "r": "8",
        "shadow-share": "1%",
    }
