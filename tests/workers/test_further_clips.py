"""Clips that are decoded when early exit asks for them: the rows are those of a whole decode."""

import math
import random
import shutil
from concurrent.futures import ThreadPoolExecutor

import av
import numpy as np
import pyarrow as pa
import pytest
import torch

import sta
from pipeline.inputs.manifest import MANIFEST_SCHEMA, unit_id
from tests.early_exit_files import views_needed
from tests.videos import write_video
from workers.decode_actor import DecodeActor, FirstClips
from workers.further_clips import LocalFurtherClips
from workers.inference.early_exit import EarlyExit
from workers.inference.labeler import LabelerConfig
from workers.inference.unpruned_sample import Shadow, in_sample
from workers.label_actor import LabelActor
from workers.sampling import protocol
from workers.schema import DECODED_SCHEMA, UNITS_SCHEMA

PROTOCOL = protocol("videomae-k400", size=112, views=(4, 3))
FIRST = FirstClips(PROTOCOL.looks()[0])
COSTS = ("attempts", "decode_ms", "bytes_read", "decoded_clips")
FRAMES = [150, 160, 170, 180, 190, 90, 200, 140, 64, 20]


def write_scenes(path, *, frames, width, seed):
    """A video with another picture every 30 frames, so that its clips differ."""
    rng = np.random.default_rng(seed)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"g": "40", "crf": "30"})
        stream.height, stream.width, stream.pix_fmt = 64, width, "yuv420p"
        for number in range(frames):
            if number % 30 == 0:
                cells = rng.integers(0, 256, (8, width // 8, 3), dtype=np.uint8)
                picture = np.kron(cells, np.ones((8, 8, 1), np.uint8))
            moved = np.roll(picture, number % 30, axis=1)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(moved, format="rgb24")))
        container.mux(stream.encode(None))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("videos")
    for number, frames in enumerate(FRAMES):
        width = 64 + 16 * (number % 3)
        write_scenes(place / f"{number}.mp4", frames=frames, width=width, seed=number)
    (place / "text.mp4").write_text("no video")
    return place


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """A model of random weights, whose margins differ from video to video."""
    torch.manual_seed(0)
    model = sta.create_model("vit_demo", num_classes=3)
    torch.nn.init.normal_(model.head.weight, std=0.3)
    path = tmp_path_factory.mktemp("model") / "random.safetensors"
    sta.save_checkpoint(model, path, labels=list("abc"), origin="random")
    return LabelerConfig(str(path), pruning=sta.Pruning(r=22), batch_size=4)


def manifest(folder, names):
    rows = [
        {"unit_id": unit_id(name), "video_id": name, "uri": str(folder / name)} for name in names
    ]
    return pa.Table.from_pylist(rows, schema=MANIFEST_SCHEMA)


@pytest.fixture(scope="module")
def units(folder):
    return manifest(folder, [*(f"{number}.mp4" for number in range(len(FRAMES))), "text.mp4"])


@pytest.fixture(scope="module")
def decoder():
    actor = DecodeActor(PROTOCOL)
    yield actor
    actor.close()


@pytest.fixture(scope="module")
def first(units):
    actor = DecodeActor(PROTOCOL, first=FIRST)
    yield pa.concat_tables(actor(units))
    actor.close()


@pytest.fixture(scope="module")
def every(decoder, units):
    return pa.concat_tables(decoder(units))


@pytest.fixture(scope="module")
def early_exit(config, every):
    """Of a threshold at which some videos need one clip, some two, and some all."""
    actor = LabelActor(config, PROTOCOL, early_exit=EarlyExit(math.inf))
    margins = [row["margins"] for row in actor(every.slice(0, 8)).to_pylist()]
    order = PROTOCOL.views_in_order

    def needed(threshold):
        used = [views_needed(EarlyExit(threshold), np.array(known)) for known in margins]
        return {len({clip for clip, _ in order[:views]}) for views in used}

    thresholds = np.geomspace(0.01, 4, 300).tolist()
    return EarlyExit(max(thresholds, key=lambda each: (2 in needed(each), len(needed(each)))))


@pytest.fixture(scope="module")
def label(config, early_exit):
    def labeled(decoded, further=None, **settings):
        settings = {"early_exit": early_exit} | settings
        actor = LabelActor(config, PROTOCOL, further=further, **settings)
        table = actor(decoded)
        assert table.schema.equals(UNITS_SCHEMA)
        return table.to_pylist()

    return labeled


@pytest.fixture(scope="module")
def whole(label, every):
    return label(every)


def results(rows):
    """Rows without times and costs."""
    kept = []
    for row in rows:
        row = {name: row[name] for name in row if name not in (*COSTS, "labeled_at", "device_ms")}
        row["views"] = row["views"] and [view | {"device_ms": None} for view in row["views"]]
        kept.append(row)
    return kept


class Late:
    """Answers from other threads, in another order than it was asked."""

    def __init__(self, actor):
        self._source = LocalFurtherClips(actor)
        self._pool = ThreadPoolExecutor(1)
        self._random = random.Random(3)
        self.asked = []

    def request(self, row, clips):
        self.asked.append((row["video_id"], clips))
        return self._pool.submit(lambda: self._source.request(row, clips).result())


def test_a_decoder_gives_the_first_clips_or_more_where_more_costs_little(first):
    rows = first.to_pylist()
    assert first.schema.equals(DECODED_SCHEMA)
    assert [row["clips"] for row in rows] == [*[[0]] * 8, None, None, None]
    assert [row["decoded_clips"] for row in rows] == [*[1] * 8, 4, 4, None]
    assert rows[0]["frames_shape"][0] == 16


@pytest.mark.parametrize("late", [False, True])
def test_rows_are_those_of_units_that_were_decoded_whole(label, decoder, first, whole, late):
    source = Late(decoder) if late else LocalFurtherClips(decoder)
    rows = label(first, source)
    assert results(rows) == results(whole)
    decoded = [row["decoded_clips"] for row in rows[:8]]
    assert {1, 2} < set(decoded), "the videos must differ"
    for row, count in zip(rows, decoded, strict=False):
        evaluated = len({view["clip"] for view in row["views"]})
        assert evaluated <= count
        assert (row["attempts"], row["bytes_read"] > 0) == ({1: 1, 2: 2, 4: 3}[count], True)


def test_no_clip_is_asked_for_twice_or_before_it_is_needed(label, decoder, first, whole):
    source = Late(decoder)
    rows = {row["video_id"]: row for row in label(first, source)}
    looks = PROTOCOL.looks()
    for name, row in rows.items():
        asked = [clips for video, clips in source.asked if video == name]
        assert asked == looks[1 : 1 + len(asked)]
        evaluated = {view["clip"] for view in row["views"] or ()}
        assert all(evaluated & set(clips) for clips in asked)


def test_results_do_not_depend_on_what_else_is_labeled(label, decoder, first, whole):
    for chosen in ([3], [7, 2, 3], [9, 8, 0, 1]):
        rows = label(first.take(chosen), LocalFurtherClips(decoder))
        assert results(rows) == results([whole[number] for number in chosen])


@pytest.mark.slow
def test_units_of_the_shadow_sample_are_decoded_whole(config, label, units, decoder):
    actor = DecodeActor(PROTOCOL, first=FirstClips(FIRST.clips, whole_share=0.5))
    decoded = pa.concat_tables(actor(units.slice(0, 8)))
    actor.close()
    inside = [in_sample(unit, 0.5) for unit in decoded["unit_id"].to_pylist()]
    assert {True, False} == set(inside)
    assert [clips is None for clips in decoded["clips"].to_pylist()] == inside
    unpruned = LabelerConfig(config.checkpoint, pruning=sta.Pruning(r=0), batch_size=4)
    shadow = Shadow(0.5, unpruned)
    both = label(decoded, LocalFurtherClips(decoder), shadow=shadow)
    same = label(pa.concat_tables(decoder(units.slice(0, 8))), shadow=shadow)
    for row in (*both, *same):
        row.pop("unpruned_device_ms")
    assert results(both) == results(same)


def asking_most(whole):
    """Number of the video that needs most clips."""
    return max(range(8), key=lambda n: len({view["clip"] for view in whole[n]["views"]}))


def test_a_video_that_is_gone_when_more_is_asked_of_it_fails_with_the_costs_of_both(
    label, decoder, folder, whole, tmp_path
):
    number = asking_most(whole)
    shutil.copy(folder / f"{number}.mp4", tmp_path / "a.mp4")
    actor = DecodeActor(PROTOCOL, first=FIRST)
    (decoded,) = actor(manifest(tmp_path, ["a.mp4"]))
    (tmp_path / "a.mp4").unlink()
    (row,) = label(decoded, LocalFurtherClips(actor))
    actor.close()
    assert (row["status"], row["error_type"]) == ("failed", "not_found")
    assert row["label"] is row["views"] is row["margins"] is row["flops"] is None
    assert row["frame_count"] is row["decoded_clips"] is None
    assert row["attempts"] == decoded["attempts"][0].as_py() + 1
    assert row["decode_ms"] >= decoded["decode_ms"][0].as_py()


def test_a_video_that_was_replaced_meanwhile_fails_as_changed(label, folder, whole, tmp_path):
    number = asking_most(whole)
    shutil.copy(folder / f"{number}.mp4", tmp_path / "a.mp4")
    actor = DecodeActor(PROTOCOL, first=FIRST)
    (decoded,) = actor(manifest(tmp_path, ["a.mp4"]))
    write_video(tmp_path / "a.mp4", frames=FRAMES[number] + 10, options={"g": "40"})
    (row,) = label(decoded, LocalFurtherClips(actor))
    actor.close()
    assert (row["status"], row["error_type"]) == ("failed", "changed")


def test_a_video_that_was_replaced_by_a_short_one_is_labeled_as_that_one(
    label, decoder, folder, whole, tmp_path
):
    """All its clips are decoded at once, and are of one version of the file."""
    number = asking_most(whole)
    shutil.copy(folder / f"{number}.mp4", tmp_path / "a.mp4")
    replaced = manifest(tmp_path, ["a.mp4"])
    actor = DecodeActor(PROTOCOL, first=FIRST)
    (decoded,) = actor(replaced)
    write_video(tmp_path / "a.mp4", frames=40, width=160)
    (row,) = label(decoded, LocalFurtherClips(actor))
    actor.close()
    (same,) = label(next(decoder(replaced)))
    assert results([row]) == results([same])
    assert row["frame_count"] == 40


def test_a_replaced_object_is_refused_even_where_changed_objects_are_accepted(
    label, storage, folder, whole
):
    number = asking_most(whole)
    storage.objects["/bucket/a.mp4"] = (folder / f"{number}.mp4").read_bytes()
    actor = DecodeActor(PROTOCOL, first=FIRST, accept_changed=True)
    listed = {"unit_id": unit_id("a"), "video_id": "a", "uri": "s3://bucket/a.mp4"}
    (decoded,) = actor(pa.Table.from_pylist([listed], schema=MANIFEST_SCHEMA))
    assert decoded["etag"].to_pylist() == ['"one"']
    decoded = decoded.set_column(
        decoded.schema.get_field_index("etag"), DECODED_SCHEMA.field("etag"), pa.array(['"two"'])
    )
    (row,) = label(decoded, LocalFurtherClips(actor))
    actor.close()
    assert (row["status"], row["error_type"]) == ("failed", "changed")


def test_damage_behind_the_first_clip_gives_the_row_of_a_whole_decode(
    label, decoder, folder, tmp_path
):
    """The video is then decoded from start to end, and has other frames than its index says."""
    data = bytearray((folder / "6.mp4").read_bytes())
    with av.open(str(folder / "6.mp4")) as container:
        places = [packet.pos for packet in container.demux(video=0) if packet.size]
    for at in places[120:126]:
        # After the length and the NAL header: a slice of a picture parameter set that is not there.
        data[at + 5 : at + 7] = bytes([0b11000000, 0b00001000])
    (tmp_path / "a.mp4").write_bytes(data)
    broken = manifest(tmp_path, ["a.mp4"])
    actor = DecodeActor(PROTOCOL, first=FIRST)
    (decoded,) = actor(broken)
    actor.close()
    (all_clips,) = decoder(broken)
    (row,) = label(decoded, LocalFurtherClips(decoder), early_exit=EarlyExit(math.inf))
    (same,) = label(all_clips, early_exit=EarlyExit(math.inf))
    assert decoded["clips"].to_pylist() == [[0]]
    assert decoded["frame_count"] != all_clips["frame_count"], "frames must be lost"
    assert results([row]) == results([same])


def test_without_a_source_a_unit_that_lacks_clips_is_refused(label, first, whole):
    number = asking_most(whole)
    with pytest.raises(RuntimeError, match="no source"):
        label(first.slice(number, 1))


def test_the_time_that_a_labeler_waits_for_clips_is_not_its_work(
    config, early_exit, decoder, first, whole
):
    actor = LabelActor(config, PROTOCOL, early_exit=early_exit, further=Late(decoder))
    actor(first.slice(asking_most(whole), 1))
    assert actor.totals.idle_s > 0


@pytest.mark.parametrize(
    ("max_views", "looks"),
    [(None, [(0,), (1,), (2, 3)]), (1, [(0,)]), (3, [(0,)]), (4, [(0,), (1,)])],
)
def test_looks_hold_each_clip_that_may_be_evaluated_once(max_views, looks):
    assert PROTOCOL.looks(max_views) == looks


def test_a_decoder_gives_the_clips_that_it_is_asked_for(decoder, units, every):
    row = units.slice(3, 1).to_pylist()[0] | {"clips": [1, 3], "etag": None}
    (part,) = decoder(pa.Table.from_pylist([row]))
    part, every = part.to_pylist()[0], every.slice(3, 1).to_pylist()[0]
    assert part["clips"] == [1, 3]

    def pixels(row, place):
        frames = np.frombuffer(row["frames"], np.uint8).reshape(row["frames_shape"])
        return frames[np.array(row["clip_frames"]).reshape(-1, 16)[place]]

    for place, clip in enumerate(part["clips"]):
        assert np.array_equal(pixels(part, place), pixels(every, clip))
        assert part["clip_times"][2 * place] == every["clip_times"][2 * clip]
    same = ("frame_count", "duration_s", "lost_frames")
    assert [part[name] for name in same] == [every[name] for name in same]
