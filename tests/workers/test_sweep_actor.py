"""The actor of sweep without Ray: what a labeling run would say, for several prunings at once."""

import dataclasses
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pytest
import torch

import sta
from pipeline.inputs.manifest import MANIFEST_SCHEMA
from tests.videos import write_video
from workers.actor_stats import timed
from workers.decode_actor import DecodeActor
from workers.inference.labeler import LabelerConfig
from workers.inference.reduction import ReducedModel, TokenReduction
from workers.label_actor import LabelActor
from workers.sampling import protocol
from workers.sweep_actor import SweepActor
from workers.sweep_schema import SWEEP_SCHEMA

PROTOCOL = protocol("videomae-k400", size=112, views=(2, 3))


@dataclass(frozen=True)
class TailDrop(TokenReduction):
    """Another method than STA: it says that it drops the last tokens of a clip."""

    drop: int

    @property
    def setting(self):
        return str(self.drop)

    def apply(self, model):
        return TailDropped(model, self)

    def flops(self, config, *, num_classes):
        return 1000 - self.drop


class TailDropped(ReducedModel):
    def __init__(self, model, settings):
        super().__init__(model, kept_grids=((1, 10),), is_static=False)
        self.settings = settings

    def forward(self, clips):
        kept = torch.arange(10).expand(len(clips), 1, 10) < 10 - self.settings.drop
        return sta.ModelOutput(self.model(clips).logits, (kept,))

    def clip_flops(self, kept):
        return [1000 - int((~mask).sum()) for mask in kept[0]]


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


def test_another_method_runs_beside_them_and_its_masks_decide_its_flops(decoded, config):
    variants = {"dense": sta.Pruning(), "tail": TailDrop(3)}
    for row in SweepActor(config, PROTOCOL, variants=variants)(decoded).to_pylist():
        if row["status"] != "failed":
            dense, tail = row["sweep"]
            assert (tail["variant"], tail["flops"]) == ("tail", 6 * 997)
            assert tail["probabilities"] == dense["probabilities"]


def test_a_method_whose_shapes_follow_the_clip_is_not_compiled(config):
    config = dataclasses.replace(config, compile=True)
    with pytest.raises(ValueError, match=r"TailDrop\(drop=3\) cannot be compiled"):
        SweepActor(config, PROTOCOL, variants={"tail": TailDrop(3)})


def test_it_reports_the_views_and_slots_of_all_variants(decoded, config):
    reports = []
    list(timed(SweepActor)(reports.append, config, PROTOCOL, variants=VARIANTS)(decoded))
    (report,) = reports
    assert (report.stage, report.units) == ("label", 3)
    assert (report.views, report.slots) == (2 * 6 * 3, 3 * 4 * 3)


def test_a_sweep_of_nothing_is_refused(config):
    with pytest.raises(ValueError, match="at least one pruning"):
        SweepActor(config, PROTOCOL, variants={})
