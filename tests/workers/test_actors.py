"""The two actors without Ray: one row in, one row out, failures too."""

import datetime
import itertools
import math
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
import torch

import sta
from pipeline.inputs.manifest import MANIFEST_SCHEMA, unit_spans
from pipeline.inputs.manifest import unit_id as manifest_id
from tests.videos import write_video
from workers.decode_actor import DecodeActor
from workers.inference.early_exit import EarlyExit
from workers.inference.labeler import LabelerConfig, unpack_mask
from workers.inference.unpruned_sample import Shadow, in_sample
from workers.label_actor import LabelActor
from workers.sampling import protocol
from workers.schema import DECODED_SCHEMA, UNITS_SCHEMA

PROTOCOL = protocol("videomae-k400", size=112, views=(2, 3))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("model") / "random.safetensors"
    model = sta.create_model("vit_demo", num_classes=6)
    sta.save_checkpoint(model, path, labels=list("abcdef"), origin="random")
    return str(path)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    write_video(folder / "good.mp4", frames=70)
    write_video(folder / "short.mkv", frames=5)
    (folder / "text.mp4").write_text("no video")
    names = ["good.mp4", "text.mp4", "absent.mp4", "short.mkv"]
    rows = [
        {"unit_id": f"id-{name}", "video_id": name, "uri": str(folder / name), "ground_truth": "a"}
        for name in names
    ]
    return pa.Table.from_pylist(rows, schema=MANIFEST_SCHEMA)


@pytest.fixture(scope="module")
def decoded(manifest):
    return pa.concat_tables(DecodeActor(PROTOCOL)(manifest))


@pytest.fixture(scope="module")
def labeled(decoded, checkpoint):
    config = LabelerConfig(checkpoint, pruning=sta.Pruning(r=22), batch_size=5)
    return LabelActor(config, PROTOCOL)(decoded)


def test_every_row_comes_back_once_and_in_order(manifest, decoded, labeled):
    assert decoded.schema.equals(DECODED_SCHEMA)
    assert labeled.schema.equals(UNITS_SCHEMA)
    for table in (decoded, labeled):
        assert table["unit_id"].to_pylist() == manifest["unit_id"].to_pylist()
        assert table["ground_truth"].to_pylist() == ["a"] * 4


def test_bad_files_are_rows_with_a_reason_and_without_labels(labeled):
    rows = labeled.to_pylist()
    assert [row["status"] for row in rows] == ["ok", "failed", "failed", "ok"]
    assert [row["error_type"] for row in rows] == [None, "not_video", "not_found", None]
    for row in rows[1:3]:
        assert row["error"]
        assert row["label"] is row["views"] is row["flops"] is None


def test_a_labeled_row_sums_its_views(labeled, checkpoint):
    row = labeled.to_pylist()[0]
    views = row["views"]
    flops = sta.estimate_flops("vit_demo", num_classes=6, pruning=sta.Pruning(r=22))
    assert [(v["clip"], v["crop"]) for v in views] == [(c, s) for c in (0, 1) for s in (0, 1, 2)]
    assert [view["flops"] for view in views] == [flops] * 6
    assert row["flops"] == 6 * flops
    assert row["device_ms"] == pytest.approx(sum(view["device_ms"] for view in views))
    assert sum(row["scores"]) == pytest.approx(1, abs=1e-5)
    assert row["label_id"] == int(np.argmax(row["scores"])) == row["top_ids"][0]
    assert row["label"] == "abcdef"[row["label_id"]]
    assert row["score"] == pytest.approx(max(row["scores"]))


def test_bits_set_are_the_tokens_kept(labeled):
    for view in labeled.to_pylist()[0]["views"]:
        bits = [int(unpack_mask(packed, (8, 49)).sum()) for packed in view["kept_token_maps"]]
        assert bits == view["tokens_kept"] == [216, 128, 84]


def test_clip_times_are_those_of_the_frames(labeled):
    first, last = labeled.to_pylist()[0]["views"][0], labeled.to_pylist()[0]["views"][-1]
    assert (first["start_s"], first["end_s"]) == pytest.approx((0, 60 / 30))
    assert (last["start_s"], last["end_s"]) == pytest.approx((8 / 30, 68 / 30))


def test_progress_is_told_of_every_batch(decoded, checkpoint):
    told = []
    config = LabelerConfig(checkpoint, batch_size=6)
    table = LabelActor(config, PROTOCOL, told.append)(decoded)
    assert told == [table]


def test_a_row_says_when_it_was_made(labeled):
    made = labeled["labeled_at"].to_pylist()
    now = datetime.datetime.now(datetime.UTC)
    assert len(made) == 4
    assert all(
        datetime.timedelta(0) <= now - each < datetime.timedelta(minutes=10) for each in made
    )


def test_the_shadow_sample_is_labeled_as_the_unpruned_model_labels_it(decoded, checkpoint):
    places = decoded.schema.get_field_index("unit_id")
    ids = pa.array([manifest_id(name) for name in decoded["video_id"].to_pylist()])
    decoded = decoded.set_column(places, decoded.schema.field(places), ids)
    chosen = [in_sample(unit, 0.5) for unit in ids.to_pylist()]
    assert True in chosen
    assert False in chosen
    pruned = LabelerConfig(checkpoint, pruning=sta.Pruning(r=22), batch_size=5)
    unpruned = LabelerConfig(checkpoint, pruning=sta.Pruning(r=0), batch_size=3)
    alone = LabelActor(unpruned, PROTOCOL)(decoded).to_pylist()
    plain = LabelActor(pruned, PROTOCOL)(decoded).to_pylist()
    both = LabelActor(pruned, PROTOCOL, shadow=Shadow(0.5, unpruned))(decoded).to_pylist()
    for row, dense, without, inside in zip(both, alone, plain, chosen, strict=True):
        assert (row["label_id"], row["scores"]) == (without["label_id"], without["scores"])
        assert row["flops"] == without["flops"]
        if not inside or row["status"] == "failed":
            assert (
                row["unpruned_label_id"] is row["unpruned_scores"] is row["unpruned_flops"] is None
            )
            assert all(view["unpruned_label_id"] is None for view in row["views"] or ())
            continue
        for name in ("label", "label_id", "score", "top_ids", "top_scores", "scores", "flops"):
            assert row[f"unpruned_{name}"] == dense[name]
        assert row["unpruned_device_ms"] > 0
        assert [view["unpruned_label_id"] for view in row["views"]] == [
            view["label_id"] for view in dense["views"]
        ]


def test_with_early_exit_a_row_holds_the_evaluated_views_and_the_sample_all_views(
    decoded, checkpoint
):
    places = decoded.schema.get_field_index("unit_id")
    ids = pa.array([manifest_id(name) for name in decoded["video_id"].to_pylist()])
    decoded = decoded.set_column(places, decoded.schema.field(places), ids)
    pruned = LabelerConfig(checkpoint, pruning=sta.Pruning(r=22), batch_size=5)
    unpruned = LabelerConfig(checkpoint, pruning=sta.Pruning(r=0), batch_size=3)
    early_exit, order = EarlyExit(math.inf, max_views=2), PROTOCOL.views_in_order
    alone = LabelActor(unpruned, PROTOCOL)(decoded).to_pylist()
    plain = LabelActor(pruned, PROTOCOL)(decoded).to_pylist()
    actor = LabelActor(pruned, PROTOCOL, shadow=Shadow(1.0, unpruned), early_exit=early_exit)
    for row, dense, every in zip(actor(decoded).to_pylist(), alone, plain, strict=True):
        if row["status"] == "failed":
            assert row["views"] is row["margins"] is None
            continue
        assert every["margins"] is None
        assert [(v["clip"], v["crop"]) for v in row["views"]] == sorted(order[:2])
        same = [v for v in every["views"] if (v["clip"], v["crop"]) in order[:2]]
        for name in ("label_id", "top_scores", "start_s", "end_s", "flops", "kept_token_maps"):
            assert [v[name] for v in row["views"]] == [v[name] for v in same]
        assert row["flops"] == sum(v["flops"] for v in same)
        assert len(row["margins"]) == 2
        best, second = sorted(row["scores"])[:-3:-1]
        assert row["margins"][-1] == pytest.approx(best - second, abs=1e-6)
        for name in ("label_id", "scores", "flops"):
            assert row[f"unpruned_{name}"] == dense[name]
        said = {(v["clip"], v["crop"]): v["label_id"] for v in dense["views"]}
        assert all(v["unpruned_label_id"] == said[v["clip"], v["crop"]] for v in row["views"])


def test_a_smaller_shadow_sample_is_a_part_of_a_larger_and_has_its_share():
    ids = [manifest_id(f"video-{number}") for number in range(20_000)]
    samples = [{unit for unit in ids if in_sample(unit, share)} for share in (0, 0.01, 0.1, 1)]
    assert [len(sample) for sample in samples] == pytest.approx([0, 200, 2000, 20_000], rel=0.2)
    assert all(one <= other for one, other in itertools.pairwise(samples))


def test_a_shadow_sample_is_as_large_among_the_smallest_ids_as_among_all():
    """By these the videos of a calibration are chosen and the first slice of a budget."""
    ids = sorted(manifest_id(f"video-{number}") for number in range(20_000))
    inside = [in_sample(unit, 0.1) for unit in ids]
    assert [sum(inside[:4000]), sum(inside[4000:])] == pytest.approx([400, 1600], rel=0.2)


def test_a_shadow_is_unpruned_and_of_a_share(checkpoint):
    with pytest.raises(ValueError, match="must not prune"):
        Shadow(0.1, LabelerConfig(checkpoint, pruning=sta.Pruning(r=22)))
    with pytest.raises(ValueError, match="at most 1"):
        Shadow(0.0, LabelerConfig(checkpoint, pruning=sta.Pruning(r=0)))


def test_a_batch_of_failures_alone_needs_no_model_pass(decoded, checkpoint):
    table = LabelActor(LabelerConfig(checkpoint), PROTOCOL)(decoded.slice(1, 2))
    assert table["status"].to_pylist() == ["failed", "failed"]


def test_a_decode_actor_does_not_load_torch():
    code = "import sys, workers.decode_actor; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_object_that_changed_since_it_was_listed_fails_unless_told_otherwise(storage, tmp_path):
    video = write_video(tmp_path / "a.mp4", frames=20)
    storage.objects["/bucket/a.mp4"] = video.read_bytes()
    row = {"unit_id": "u", "video_id": "v", "uri": "s3://bucket/a.mp4", "ground_truth": None}
    listed = pa.Table.from_pylist([row | {"start_s": None, "end_s": None, "etag": '"zero"'}])
    strict, lenient = DecodeActor(PROTOCOL), DecodeActor(PROTOCOL, accept_changed=True)
    (refused,), (taken,) = (pa.concat_tables(a(listed)).to_pylist() for a in (strict, lenient))
    assert (refused["error_type"], refused["etag"]) == ("changed", None)
    assert (taken["status"], taken["etag"]) == ("ok", '"one"')


def test_clips_are_numbered_over_the_video(decoded, checkpoint):
    place = DECODED_SCHEMA.get_field_index("first_clip")
    moved = decoded.set_column(
        place, DECODED_SCHEMA.field(place), [pa.array([48, None, None, 0], pa.int32())]
    )
    rows = LabelActor(LabelerConfig(checkpoint), PROTOCOL)(moved).to_pylist()
    assert [view["clip"] for view in rows[0]["views"]] == [48, 48, 48, 49, 49, 49]
    assert [view["clip"] for view in rows[3]["views"]] == [0, 0, 0, 1, 1, 1]


def test_the_units_of_dense_labeling_are_labeled_clip_by_clip(tmp_path, checkpoint):
    dense = protocol("videomae-k400", size=112, every_s=1.0, views=(3, 1))
    video = str(write_video(tmp_path / "a.mp4", frames=300, options={"g": "30"}))
    rows = [
        {"unit_id": str(start), "video_id": "a", "uri": video, "start_s": start, "end_s": end}
        for start, end in unit_spans(10.0, dense.unit_s)
    ]
    decoded = pa.concat_tables(
        DecodeActor(dense)(pa.Table.from_pylist(rows, schema=MANIFEST_SCHEMA))
    )
    table = LabelActor(LabelerConfig(checkpoint, batch_size=4), dense)(decoded).to_pylist()
    views = [view for row in table for view in row["views"]]
    assert [len(row["views"]) for row in table] == [3, 3, 3, 1]
    assert [view["clip"] for view in views] == list(range(10))
    assert [view["start_s"] for view in views] == pytest.approx(range(10))
    assert sum(row["duration_s"] for row in table) == pytest.approx(10.0)
    assert sum(row["frame_count"] for row in table) == 300
