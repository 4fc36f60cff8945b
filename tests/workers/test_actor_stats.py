"""Timed actors report their work, and return what the actors return."""

import subprocess
import sys
import time

import pyarrow as pa
import pytest
from ray import cloudpickle

from pipeline.inputs.manifest import MANIFEST_SCHEMA
from tests.videos import write_video
from workers.actor_stats import DECODE, LABEL, timed
from workers.decode_actor import DecodeActor
from workers.inference.early_exit import EarlyExit
from workers.inference.labeler import LabelerConfig
from workers.label_actor import LabelActor
from workers.sampling import protocol

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


def test_a_decoder_reports_every_row_and_returns_the_same_tables(manifest):
    reports = []
    decoded = pa.concat_tables(timed(DecodeActor)(reports.append, PROTOCOL)(manifest))
    plain = pa.concat_tables(DecodeActor(PROTOCOL)(manifest))
    assert without_times(decoded) == without_times(plain)
    assert sum(each.units for each in reports) == 2
    assert {(each.stage, each.views, each.slots) for each in reports} == {(DECODE, 0, 0)}
    assert sum(each.cpu_s for each in reports) >= decoded["decode_ms"].to_pylist()[0] / 1e3


def test_waiting_between_rows_is_not_busy_time(manifest):
    reports = []
    for _ in timed(DecodeActor)(reports.append, PROTOCOL)(manifest):
        time.sleep(0.3)
    span = reports[-1].ended - reports[0].began
    assert sum(each.busy_s for each in reports) <= span - 0.25


def test_a_labeler_reports_views_and_slots(manifest, random_checkpoint):
    reports = []
    config = LabelerConfig(str(random_checkpoint), batch_size=3)
    decoded = pa.concat_tables(DecodeActor(PROTOCOL)(manifest))
    labeled = pa.concat_tables(timed(LabelActor)(reports.append, config, PROTOCOL)(decoded))
    plain = LabelActor(config, PROTOCOL)(decoded)
    assert labeled["scores"] == plain["scores"]
    (each,) = reports
    assert (each.stage, each.units, each.views, each.slots) == (LABEL, 2, 2, 3)
    assert each.ended >= each.began + each.busy_s - 1e-3


def test_slots_are_those_of_the_batches_that_were_submitted(manifest, random_checkpoint):
    """Early exit after one view of two: the other fills the batch and is discarded."""
    reports = []
    config = LabelerConfig(str(random_checkpoint), batch_size=4)
    decoded = pa.concat_tables(DecodeActor(PROTOCOL)(manifest))
    actor = timed(LabelActor)(reports.append, config, PROTOCOL, early_exit=EarlyExit(0.0))
    for _ in range(2):
        list(actor(decoded))
    assert [(each.views, each.slots) for each in reports] == [(1, 4), (1, 4)]


def test_an_actor_without_work_reports_nothing(manifest):
    reports = []
    assert list(timed(DecodeActor)(reports.append, PROTOCOL)(manifest.slice(0, 0))) == []
    assert reports == []


def test_a_timed_class_can_be_pickled_and_keeps_the_name_of_its_actor():
    actor = cloudpickle.loads(cloudpickle.dumps(timed(DecodeActor)))
    assert actor.__name__ == "TimedDecodeActor"
    assert actor.actor_class is DecodeActor


def test_a_decoder_does_not_load_torch():
    code = "import sys, workers.actor_stats, workers.decode_actor; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
