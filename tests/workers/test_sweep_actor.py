"""The actor of sweep without Ray: what a labeling run would say, for several prunings at once."""

import dataclasses

import numpy as np
import pyarrow as pa
import pytest

import sta
from pipeline.inputs.manifest import MANIFEST_SCHEMA
from tests.videos import write_video
from workers.decode_actor import DecodeActor
from workers.inference.labeler import LabelerConfig
from workers.label_actor import LabelActor
from workers.sampling import protocol
from workers.sweep_actor import SweepActor
from workers.sweep_schema import SWEEP_SCHEMA
from workers.timed_sweep_actor import TimedTrialActor

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
        {"unit_id": f"id-{name}", "video_id": name, "uri": str(folder / name), "label": "a"}
        for name in ("good.mp4", "text.mp4", "short.mkv")
    ]
    manifest = pa.Table.from_pylist(rows, schema=MANIFEST_SCHEMA)
    return pa.concat_tables(DecodeActor(PROTOCOL)(manifest))


@pytest.fixture(scope="module")
def config(random_checkpoint):
    return LabelerConfig(str(random_checkpoint), batch_size=4)


@pytest.fixture(scope="module")
def tried(decoded, config):
    return SweepActor(config, PROTOCOL, variants=VARIANTS)(decoded)


def test_every_row_comes_back_once_and_in_order_failures_too(decoded, tried):
    assert tried.schema.equals(SWEEP_SCHEMA)
    assert tried["unit_id"].to_pylist() == decoded["unit_id"].to_pylist()
    failed = tried.to_pylist()[1]
    assert (failed["status"], failed["error_type"]) == ("failed", "not_video")
    assert failed["sweep"] is None


def test_each_variant_says_what_a_labeling_run_with_its_pruning_says(decoded, config, tried):
    for place, (name, pruning) in enumerate(VARIANTS.items()):
        labeled = LabelActor(dataclasses.replace(config, pruning=pruning), PROTOCOL)(decoded)
        for row, expected in zip(tried.to_pylist(), labeled.to_pylist(), strict=True):
            if row["status"] == "failed":
                continue
            trial = row["sweep"][place]
            assert trial["variant"] == name
            assert trial["label_id"] == expected["label_id"]
            assert trial["flops"] == expected["flops"]
            by_view = np.reshape(trial["probabilities"], (6, 6))
            np.testing.assert_allclose(by_view.mean(0), expected["scores"], rtol=1e-5)
            views = [view["label_id"] for view in expected["views"]]
            assert by_view.argmax(1).tolist() == views
            assert trial["device_ms"] > 0


def test_its_clock_counts_the_views_and_places_of_all_variants(decoded, config):
    told = []
    TimedTrialActor(told.append, config, PROTOCOL, variants=VARIANTS)(decoded)
    (worked,) = told
    assert (worked.stage, worked.units) == ("label", 3)
    assert (worked.views, worked.slots) == (2 * 6 * 3, 3 * 4 * 3)


def test_a_sweep_of_nothing_is_refused(config):
    with pytest.raises(ValueError, match="at least one pruning"):
        SweepActor(config, PROTOCOL, variants={})
