"""The actor of sweep without Ray: what a labeling run would say, for several prunings at once."""

import dataclasses

import numpy as np
import pyarrow as pa
import pytest

import sta
from pipeline.inputs.manifest import MANIFEST_SCHEMA
from tests.videos import write_video
from workers.actor_stats import timed
from workers.decode_actor import DecodeActor
from workers.inference.labeler import LabelerConfig
from workers.label_actor import LabelActor
from workers.sampling import protocol
from workers.sweep_actor import SweepActor
from workers.sweep_schema import SWEEP_SCHEMA

PROTOCOL = protocol("videomae-k400", size=112, views=(2, 3))
VARIANTS = {
    "dense": sta.Pruning(),
    "random": sta.Pruning(r=20, score="random"),
    "sta": sta.Pruning(r=20),
}


@pytest.fixture(scope="module")
def decoded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    write_video(folder / "good.mp4", frames=70)
    (folder / "text.mp4").write_text("no video")
    write_video(folder / "short.mkv", frames=5)
    rows = [
        {"unit_id": f"id-{name}", "video_id": name, "uri": str(folder / name), "ground_truth": "a"}
        for name in ("good.mp4", "text.mp4", "short.mkv")
    ]
    manifest = pa.Table.from_pylist(rows, schema=MANIFEST_SCHEMA)
    return pa.concat_tables(DecodeActor(PROTOCOL)(manifest))


@pytest.fixture(scope="module")
def config(random_checkpoint):
    return LabelerConfig(str(random_checkpoint), batch_size=4)


@pytest.fixture(scope="module")
def swept(decoded, config):
    return SweepActor(config, PROTOCOL, variants=VARIANTS)(decoded)


def test_every_row_is_returned_once_and_in_order_failures_too(decoded, swept):
    assert swept.schema.equals(SWEEP_SCHEMA)
    assert swept["unit_id"].to_pylist() == decoded["unit_id"].to_pylist()
    failed = swept.to_pylist()[1]
    assert (failed["status"], failed["error_type"]) == ("failed", "not_video")
    assert failed["sweep"] is None


def test_each_variant_gives_the_labels_of_a_run_with_its_pruning(decoded, config, swept):
    for place, (name, pruning) in enumerate(VARIANTS.items()):
        labeled = LabelActor(dataclasses.replace(config, pruning=pruning), PROTOCOL)(decoded)
        for row, expected in zip(swept.to_pylist(), labeled.to_pylist(), strict=True):
            if row["status"] == "failed":
                continue
            entry = row["sweep"][place]
            assert entry["variant"] == name
            assert entry["label_id"] == expected["label_id"]
            assert entry["flops"] == expected["flops"]
            by_view = np.reshape(entry["probabilities"], (6, 6))
            np.testing.assert_allclose(by_view.mean(0), expected["scores"], rtol=1e-5)
            views = [view["label_id"] for view in expected["views"]]
            assert by_view.argmax(1).tolist() == views
            assert entry["device_ms"] > 0


def test_it_reports_the_views_and_slots_of_all_variants(decoded, config):
    reports = []
    list(timed(SweepActor)(reports.append, config, PROTOCOL, variants=VARIANTS)(decoded))
    (report,) = reports
    assert (report.stage, report.units) == ("label", 3)
    assert (report.views, report.slots) == (2 * 6 * 3, 3 * 4 * 3)


def test_a_sweep_of_nothing_is_refused(config):
    with pytest.raises(ValueError, match="at least one pruning"):
        SweepActor(config, PROTOCOL, variants={})
