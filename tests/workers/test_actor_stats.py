"""Actors with a clock tell what they did, and do what they do without one."""

import subprocess
import sys
import time

import pyarrow as pa
import pytest

from pipeline.inputs.manifest import MANIFEST_SCHEMA
from tests.videos import write_video
from workers.actor_stats import DECODE, LABEL, Clock
from workers.decode_actor import DecodeActor
from workers.inference.early_exit import EarlyExit
from workers.inference.labeler import LabelerConfig
from workers.label_actor import LabelActor
from workers.sampling import protocol
from workers.timed_decode_actor import TimedDecodeActor
from workers.timed_label_actor import TimedLabelActor

PROTOCOL = protocol("videomae-k400", size=112, views=(2, 1))


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    write_video(folder / "good.mp4", frames=40)
    rows = [
        {"unit_id": name, "video_id": name, "uri": str(folder / name)}
        for name in ("good.mp4", "absent.mp4")
    ]
    return pa.Table.from_pylist(rows, schema=MANIFEST_SCHEMA)


def without_times(table):
    return table.drop_columns(["decode_ms"])


def test_a_decoder_tells_of_every_row_and_decodes_as_ever(manifest):
    told = []
    timed = pa.concat_tables(TimedDecodeActor(told.append, PROTOCOL)(manifest))
    assert without_times(timed) == without_times(pa.concat_tables(DecodeActor(PROTOCOL)(manifest)))
    assert sum(each.units for each in told) == 2
    assert {(each.stage, each.views, each.slots) for each in told} == {(DECODE, 0, 0)}
    assert sum(each.cpu_s for each in told) >= timed["decode_ms"].to_pylist()[0] / 1e3


def test_waiting_between_rows_is_no_work(manifest):
    told = []
    for _ in TimedDecodeActor(told.append, PROTOCOL)(manifest):
        time.sleep(0.3)
    span = told[-1].ended - told[0].began
    assert sum(each.busy_s for each in told) <= span - 0.25


def test_a_labeler_tells_views_and_the_slots_they_took(manifest, random_checkpoint):
    told = []
    config = LabelerConfig(str(random_checkpoint), batch_size=3)
    decoded = pa.concat_tables(DecodeActor(PROTOCOL)(manifest))
    labeled = TimedLabelActor(told.append, config, PROTOCOL)(decoded)
    plain = LabelActor(config, PROTOCOL)(decoded)
    assert labeled["scores"] == plain["scores"]
    (each,) = told
    assert (each.stage, each.units, each.views, each.slots) == (LABEL, 2, 2, 3)
    assert each.ended >= each.began + each.busy_s - 1e-3


def test_slots_are_those_of_the_batches_that_were_launched(manifest, random_checkpoint):
    """A policy that looks at one view of two fills a batch up with the other, in vain."""
    told = []
    config = LabelerConfig(str(random_checkpoint), batch_size=4)
    decoded = pa.concat_tables(DecodeActor(PROTOCOL)(manifest))
    made = TimedLabelActor(told.append, config, PROTOCOL, early_exit=EarlyExit(0.0))
    for _ in range(2):
        made(decoded)
    assert [(each.views, each.slots) for each in told] == [(1, 4), (1, 4)]


def test_a_clock_without_work_tells_nothing():
    told = []
    clock = Clock(DECODE, told.append)
    clock.report()
    assert told == []
    assert not clock.is_due


def test_a_timed_decoder_does_not_load_torch():
    code = "import sys, workers.timed_decode_actor; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
