"""The options of a labeling run become what its workers are given."""

import dataclasses
import json

import pytest

from pipeline.errors import UsageError
from pipeline.flags import FLAGS
from pipeline.inputs.list_options import LISTS, ListOptions
from pipeline.labeling.flags import parser
from pipeline.labeling.job import options_from
from pipeline.labeling.options import LabelOptions
from pipeline.run.identity import Identity
from pipeline.run.json_fields import read as read_json
from pipeline.run.run_directory import check_same
from workers.decoding import DecodeLimits
from workers.sampling import protocol

PLAN = protocol("videomae-k400", size=112, frames=16)


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


@pytest.mark.parametrize("name", LISTS)
def test_flags_of_lists_reach_the_listing_and_a_run_with_others_is_not_resumed(name) -> None:
    value = {"skip_bad_lines": True, "delimiter": ",", "fps": 25.0}.get(name, "/x")
    words = [f"--{name.replace('_', '-')}", *([] if value is True else [str(value)])]
    read = parser("k400").parse_args(["in", "out", "--checkpoint", "demo", *words])
    asked = options_from("k400", read)
    wanted = ListOptions(**{name: value})
    assert asked.lists == asked.listing().lists == asked.listing().again().lists == wanted
    plain = Identity(input="in", model="m", labels="l", protocol=PLAN, decoder="pyav")
    other = dataclasses.replace(plain, lists=wanted)
    assert read_json(Identity, json.loads(json.dumps(other.to_json())), "") == other
    check_same(other, dataclasses.replace(other), "out")
    with pytest.raises(UsageError, match=f"lists: not set in the run, {name} {value} now"):
        check_same(plain, other, "out")


def test_fast_decoding_is_refused_with_a_decoder_that_has_none() -> None:
    assert options(decode="fast").decode == "fast"
    with pytest.raises(
        UsageError, match="--decode fast needs --decoder pyav; got --decoder decord"
    ):
        options(decode="fast", decoder="decord")


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
