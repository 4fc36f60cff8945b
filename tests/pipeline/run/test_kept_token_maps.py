import json
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import pipeline
from pipeline.errors import UsageError
from pipeline.run.run_directory import RunDirectory
from pipeline.run.tables import CLIPS_SCHEMA, VIDEOS_SCHEMA
from pipeline.storage.location import Location
from tests.run_records import run_record
from workers.inference.masks import pack_mask

GRIDS = [[2, 3, 4], [2, 2, 2]]


def mask(video, clip, crop, stage):
    """The kept map of one view, like no other's."""
    seed = [ord(video[0]), clip, crop, stage]
    return np.random.default_rng(seed).random(GRIDS[stage]) < 0.5


def view(video, clip, crop, unit):
    return {
        "video_id": video,
        "unit_id": unit,
        "clip": clip,
        "crop": crop,
        "start_s": float(clip),
        "end_s": clip + 0.5,
        "kept_token_maps": [pack_mask(mask(video, clip, crop, stage)) for stage in range(2)],
    }


def write_run(folder, files, grids=GRIDS, videos=()):
    run = RunDirectory(Location.of(str(folder)))
    run.save(run_record({"identity": {}, "model": {"kept_grids": grids}}))
    metadata = {"kept_grids": json.dumps(grids)}
    for table, schema, parts in (
        (run.clips, CLIPS_SCHEMA, files),
        (run.videos, VIDEOS_SCHEMA, [videos]),
    ):
        (folder / table.name).mkdir()
        for number, rows in enumerate(parts):
            content = pa.Table.from_pylist(list(rows), schema=schema.with_metadata(metadata))
            pq.write_table(content, f"{table.uri}/part-{number:05d}.parquet", row_group_size=2)
    return run


@pytest.fixture
def run(tmp_path):
    """A video "b" whole, and a recording "a" whose second segment came first."""
    files = [
        [view("a", 2, 0, "a2"), view("a", 3, 0, "a2"), view("b", 0, 0, "b")],
        [view("b", 0, 1, "b"), view("a", 0, 0, "a1"), view("a", 1, 0, "a1")],
    ]
    videos = [
        {"video_id": "a", "status": "ok"},
        {"video_id": "b", "status": "ok"},
        {"video_id": "c", "status": "failed", "error_type": "corrupt", "error": "no frame"},
    ]
    return write_run(tmp_path, files, videos=videos)


def test_a_videos_maps_are_by_clip_and_crop_in_rows_and_columns(run):
    maps = pipeline.read_kept_token_maps(run.root.uri, "a")
    assert (maps.clips.tolist(), maps.crops.tolist()) == ([0, 1, 2, 3], [0, 0, 0, 0])
    assert maps.times.tolist() == [[k, k + 0.5] for k in range(4)]
    assert [(stage.shape, stage.dtype) for stage in maps.stages] == [
        ((4, 2, 3, 4), bool),
        ((4, 2, 2, 2), bool),
    ]
    for clip in range(4):
        for stage in range(2):
            assert np.array_equal(maps.stages[stage][clip], mask("a", clip, 0, stage))


def test_a_run_is_read_unit_by_unit_also_over_the_ends_of_files(run):
    units = [(m.video_id, m.clips.tolist(), m.crops.tolist()) for m in _all(run)]
    assert units == [("a", [2, 3], [0, 0]), ("b", [0, 0], [0, 1]), ("a", [0, 1], [0, 0])]


def test_reading_a_run_begins_with_its_first_file(run):
    (RunDirectory(run.root).clips.child("part-00001.parquet")).write_bytes(b"not read yet")
    maps = next(_all(run))
    assert np.array_equal(maps.stages[1][0], mask("a", 2, 0, 1))


def test_an_unpruned_run_has_views_and_no_stages(tmp_path):
    row = view("a", 0, 0, "a") | {"kept_token_maps": []}
    run = write_run(tmp_path, [[row]], grids=[])
    maps = pipeline.read_kept_token_maps(run.root.uri, "a")
    assert (maps.clips.tolist(), maps.stages) == ([0], ())


@pytest.mark.parametrize(
    ("video", "said"),
    [
        ("d", "has no video 'd'; it has a, b, c"),
        ("c", "c has no labels: it failed as corrupt (no frame)"),
    ],
)
def test_what_has_no_maps_is_said_in_one_line(run, video, said):
    with pytest.raises(UsageError) as error:
        pipeline.read_kept_token_maps(run.root.uri, video)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_folder_without_a_finished_run_is_refused(tmp_path):
    with pytest.raises(UsageError, match="holds no run"):
        pipeline.read_kept_token_maps(tmp_path)
    RunDirectory(Location.of(str(tmp_path))).save(run_record())
    with pytest.raises(UsageError, match="is not finished"):
        pipeline.read_kept_token_maps(tmp_path)


def test_maps_in_object_storage_are_read_like_local_ones(run, s3):
    s3.create_bucket(Bucket="kept-maps")
    for file in ("run.json", "clips/part-00000.parquet", "clips/part-00001.parquet"):
        s3.upload_file(f"{run.root.uri}/{file}", "kept-maps", f"run/{file}")
    maps = pipeline.read_kept_token_maps("s3://kept-maps/run", "b")
    assert np.array_equal(maps.stages[0][1], mask("b", 0, 1, 0))


def test_reading_maps_imports_neither_torch_nor_ray():
    script = (
        "import sys, pipeline; light = 'numpy' not in sys.modules; pipeline.read_kept_token_maps; "
        "print(light, sorted({'torch', 'ray'} & sys.modules.keys()))"
    )
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert said.stdout.split() == ["True", "[]"], said.stderr


def _all(run):
    return pipeline.read_kept_token_maps(run.root.uri)
