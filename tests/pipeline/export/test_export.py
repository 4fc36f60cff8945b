"""Exports are read back by the library of their format, and hold what the run holds."""

import csv
import dataclasses
import datetime
import json
import sys
from pathlib import Path
from xml.etree import ElementTree

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from pipeline.errors import RunError, UsageError
from pipeline.export import labeled_videos as module
from pipeline.export.export import FORMATS, export
from pipeline.export.labeled_videos import LabeledVideo, Segment, labeled_videos
from pipeline.run.run_directory import RunDirectory
from pipeline.storage.location import Location
from sta.transport.aws import library_options
from tests.pipeline.synthetic_runs import CLIPS, LABELS, Made, make_run, make_segmented_run

VIDEOS = 6
FAILED = "video-003.mp4"
DAY = datetime.date(2026, 3, 1)
FINISHED = datetime.datetime(2026, 3, 1, 13, tzinfo=datetime.UTC)


def directory(folder):
    return RunDirectory(Location.of(str(folder)))


def finished(folder, run_id):
    run = directory(folder)
    run.mark.write_bytes(run_id.encode())
    run.save(dataclasses.replace(run.load(), run_id=run_id, finished=FINISHED))
    return run


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run over whole videos, one of which failed."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    make_run(folder, Made(failing=(FAILED,)), videos=VIDEOS)
    return finished(folder, "a" * 32)


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "other"
    make_run(folder, Made(), videos=2, first=VIDEOS)
    return finished(folder, "b" * 32)


@pytest.fixture(scope="module")
def dense(tmp_path_factory):
    """A run over recordings of three segments."""
    folder = tmp_path_factory.mktemp("runs") / "dense"
    make_segmented_run(folder, Made(), videos=2, count=3)
    (file,) = (folder / "clips").iterdir()  # whose clips have no times yet
    table = pq.read_table(file)
    for name, more in (("start_s", 0.0), ("end_s", 1.5)):
        times = pc.add(pc.multiply(table["clip"].cast(pa.float64()), 2.0), more)
        place = table.schema.get_field_index(name)
        table = table.set_column(place, table.schema.field(name), times)
    pq.write_table(table, file)
    return finished(folder, "c" * 32)


def rows(run, table="videos"):
    return pq.read_table(run.root.child(table).uri, partitioning=None).to_pylist()


def ids(found):
    return sorted(row["video_id"] for row in found)


def test_csv_holds_every_video_and_every_segment(whole, dense, tmp_path):
    (file,) = export(whole, "csv", str(tmp_path / "whole"))
    with open(file, newline="") as opened:
        found = list(csv.DictReader(opened))
    assert "embedding" not in found[0]
    assert ids(found) == ids(rows(whole))
    failed = next(row for row in found if row["video_id"] == FAILED)
    assert (failed["status"], failed["error_type"], failed["label"]) == ("failed", "corrupt", "")
    assert {row["date"] for row in found} == {str(DAY)}
    labeled = next(row for row in rows(whole) if row["status"] == "ok")
    same = next(row for row in found if row["video_id"] == labeled["video_id"])
    assert same["top_ids"] == "|".join(map(str, labeled["top_ids"]))
    _, segments = export(dense, "csv", str(tmp_path / "dense"))
    with open(segments, newline="") as opened:
        found = list(csv.DictReader(opened))
    assert sum(int(row["clips"]) for row in found) == 2 * 3 * CLIPS


def test_activitynet_holds_the_segments_of_labeled_videos(whole, dense, tmp_path):
    (file,) = export(whole, "activitynet", str(tmp_path / "whole"))
    found = json.loads(Path(file).read_text())
    assert found["version"] == "VERSION 1.3"
    expected = {row["video_id"]: row for row in rows(whole) if row["status"] == "ok"}
    assert found["results"].keys() == expected.keys()
    for video, (only,) in found["results"].items():
        row = expected[video]
        assert only["segment"] == [0.0, row["duration_s"]]
        assert (only["label"], only["score"]) == (row["label"], pytest.approx(row["score"]))
    (file,) = export(dense, "activitynet", str(tmp_path / "dense"))
    found = json.loads(Path(file).read_text())["results"]
    for video in labeled_videos(dense):
        assert [each["segment"] for each in found[video.video_id]] == [
            [each.start_s, each.end_s] for each in video.segments
        ]


def test_label_studio_gets_tasks_for_its_configuration(whole, dense, tmp_path):
    export(whole, "label-studio", str(tmp_path / "whole"))
    tasks = json.loads((tmp_path / "whole" / "tasks.json").read_text())
    assert sorted(task["data"]["video_id"] for task in tasks) == ids(rows(whole))
    for task in tasks:
        if task["data"]["video_id"] == FAILED:
            assert "predictions" not in task
            assert "corrupt" in task["data"]["error"]
            continue
        (prediction,) = task["predictions"]
        (choice,) = prediction["result"]
        assert choice["value"]["choices"][0] in LABELS
        assert choice["score"] == prediction["score"]
    export(dense, "label-studio", str(tmp_path / "dense"))
    config = ElementTree.parse(tmp_path / "dense" / "labeling_config.xml").getroot()
    names = {element.get("name") for element in config.iter()} - {None}
    assert names == {"segments", "video", "label"}
    assert [each.get("value") for each in config.iter("Label")] == LABELS
    for task in json.loads((tmp_path / "dense" / "tasks.json").read_text()):
        for result in task["predictions"][0]["result"]:
            assert {result["from_name"], result["to_name"]} < names
        assert any(each["type"] == "timelinelabels" for each in task["predictions"][0]["result"])


def test_fiftyone_gets_temporal_detections(dense, tmp_path):
    (file,) = export(dense, "fiftyone", str(tmp_path))
    found = json.loads(Path(file).read_text())
    assert json.loads((tmp_path / "data.json").read_text()) == {}  # FiftyOne needs this or data/
    assert found["classes"] == LABELS
    assert sorted(found["labels"]) == ["tape-0", "tape-1"]  # of videos that lie elsewhere
    for detections in found["labels"].values():
        for each in detections:
            assert each["label"] in LABELS
            assert 0 < each["confidence"] <= 1
            assert len(each.get("support") or each["timestamps"]) == 2


def test_fiftyone_names_local_videos_by_their_path(tmp_path):
    make_run(tmp_path / "run", Made(scheme="/videos/"), videos=2)
    (file,) = export(directory(tmp_path / "run"), "fiftyone", str(tmp_path / "out"))
    found = json.loads(Path(file).read_text())["labels"]
    assert sorted(found) == ["/videos/video-000.mp4", "/videos/video-001.mp4"]


def read_delta(folder, name):
    import deltalake

    table = deltalake.DeltaTable(folder / name)
    return table.to_pyarrow_table().to_pylist(), table.metadata().partition_columns


def read_lance(folder, name):
    import lance

    return lance.dataset(str(folder / f"{name}.lance")).to_table().to_pylist(), ["date"]


def read_iceberg(folder, name):
    from pyiceberg.catalog import load_catalog

    settings = {"type": "sql", "uri": f"sqlite:///{folder / 'catalog.db'}"}
    table = load_catalog("default", **settings).load_table(f"labels.{name}")
    return table.scan().to_arrow().to_pylist(), [field.name for field in table.spec().fields]


READERS = {"delta": read_delta, "lance": read_lance, "iceberg": read_iceberg}


@pytest.mark.parametrize("to", READERS)
def test_a_table_holds_the_run_and_is_partitioned_by_date(to, whole, dense, tmp_path):
    export(whole, to, str(tmp_path / "whole"))
    found, partitions = READERS[to](tmp_path / "whole", "videos")
    assert partitions == ["date"]
    expected = {row["video_id"]: row for row in rows(whole)}
    assert len(found) == VIDEOS
    for row in found:
        assert (row.pop("date"), row.pop("run_id")) == (DAY, "a" * 32)
        assert row == expected[row["video_id"]]
    export(dense, to, str(tmp_path / "dense"))
    found, _ = READERS[to](tmp_path / "dense", "segments")
    assert sum(row["clips"] for row in found) == 2 * 3 * CLIPS


@pytest.mark.parametrize("to", READERS)
def test_a_table_takes_many_runs_each_once(to, whole, other, tmp_path):
    export(whole, to, str(tmp_path), append=True)
    for _ in range(2):
        export(other, to, str(tmp_path), append=True)
        found, _ = READERS[to](tmp_path, "videos")
        assert ids(found) == sorted(ids(rows(whole)) + ids(rows(other)))
    export(other, to, str(tmp_path), overwrite=True)
    found, _ = READERS[to](tmp_path, "videos")
    assert ids(found) == ids(rows(other))


def test_huggingface_is_a_folder_that_datasets_opens(whole, dense, tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets")
    export(whole, "huggingface", str(tmp_path / "whole"))
    cache = str(tmp_path / "cache")
    found = datasets.load_dataset(str(tmp_path / "whole"), split="train", cache_dir=cache)
    assert ids(found) == ids(rows(whole))
    row = found[0]
    assert row["top_ids"] == next(
        each["top_ids"] for each in rows(whole) if each["video_id"] == row["video_id"]
    )
    assert row["date"] == DAY
    export(dense, "huggingface", str(tmp_path / "dense"))
    found = datasets.load_dataset(
        str(tmp_path / "dense"), "segments", split="train", cache_dir=cache
    )
    assert sum(found["clips"]) == 2 * 3 * CLIPS


def content(folder):
    return {path: path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


@pytest.mark.parametrize("to", FORMATS)
def test_an_export_changes_nothing_in_the_run(to, whole, dense, tmp_path):
    for run in (whole, dense):
        before = content(run.root.uri)
        export(run, to, str(tmp_path / run.root.name))
        assert content(run.root.uri) == before
        assert content(tmp_path / run.root.name)


@pytest.mark.parametrize("to", [to for to in FORMATS if to != "iceberg"])
def test_an_export_may_lie_in_a_bucket(to, whole, tmp_path, s3):
    s3.create_bucket(Bucket=f"exports-{to}")
    dest = f"s3://exports-{to}/a/b"
    export(whole, to, dest)
    with pytest.raises(UsageError, match="there is already s3://exports-"):
        export(whole, to, dest)
    export(whole, to, dest, append=to in READERS, overwrite=to not in READERS)
    if to not in READERS:
        export(whole, to, str(tmp_path))
        keys = [entry["Key"] for entry in s3.list_objects_v2(Bucket=f"exports-{to}")["Contents"]]
        names = {key.rpartition("/")[2] for key in keys} - {""}
        assert names == {path.name for path in content(tmp_path)}
    if to == "delta":
        import deltalake

        options = library_options(dest)
        table = deltalake.DeltaTable(f"{dest}/videos", storage_options=options)
        assert table.to_pyarrow_table().num_rows == VIDEOS
    if to == "lance":
        import lance

        options = library_options(dest)
        assert lance.dataset(f"{dest}/videos.lance", storage_options=options).count_rows() == VIDEOS


@pytest.mark.parametrize("to", FORMATS)
def test_an_export_that_breaks_off_leaves_nothing_that_exists(to, tmp_path):
    make_run(tmp_path / "run", Made(), videos=3)
    (whole,) = (tmp_path / "run" / "videos").iterdir()
    damaged = whole.with_name("part-00001.parquet")
    damaged.write_bytes(whole.read_bytes()[:1000])
    dest = str(tmp_path / "out")
    with pytest.raises((OSError, pa.ArrowException, RunError)):
        export(directory(tmp_path / "run"), to, dest)
    damaged.unlink()
    export(directory(tmp_path / "run"), to, dest)  # and is not refused


@pytest.mark.parametrize("to", FORMATS)
def test_a_run_of_which_nothing_is_new_has_an_export(to, tmp_path):
    make_run(tmp_path / "run", Made(), videos=0)
    dest = str(tmp_path / "out")
    export(directory(tmp_path / "run"), to, dest)
    export(directory(tmp_path / "run"), to, dest, append=to in READERS, overwrite=to not in READERS)


@pytest.mark.parametrize("to", FORMATS)
def test_what_exists_is_replaced_only_if_asked(to, whole, other, tmp_path):
    (tmp_path / "mine.txt").write_text("kept")
    export(whole, to, str(tmp_path))
    with pytest.raises(UsageError, match="there is already .*--overwrite"):
        export(other, to, str(tmp_path))
    export(other, to, str(tmp_path), overwrite=True)
    assert (tmp_path / "mine.txt").read_text() == "kept"


@pytest.mark.parametrize(
    ("to", "flags", "said"),
    [
        ("csv", {"append": True}, "--append is for iceberg, lance, delta"),
        ("delta", {"append": True, "overwrite": True}, "leave one of them out"),
        ("csv", {"catalog": "mine"}, "--catalog is for iceberg"),
        ("iceberg", {"catalog": "nowhere"}, "--catalog nowhere: "),
    ],
)
def test_flags_that_do_not_fit_are_refused(to, flags, said, whole, tmp_path):
    with pytest.raises(UsageError, match=said):
        export(whole, to, str(tmp_path / "out"), **flags)


@pytest.mark.parametrize(
    ("to", "library"), [("delta", "deltalake"), ("lance", "lance"), ("iceberg", "pyiceberg")]
)
def test_a_missing_library_names_its_extra(to, library, whole, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(UsageError, match=rf"needs the package {library}.*\.\[{to}\]"):
        export(whole, to, str(tmp_path / "out"))


def test_an_unfinished_run_and_a_destination_in_it_are_refused(tmp_path):
    make_run(tmp_path / "run", Made(), videos=2)
    run = directory(tmp_path / "run")
    for dest in ("run", "run/out"):
        with pytest.raises(UsageError, match="lies in the run itself"):
            export(run, "huggingface", str(tmp_path / dest))
    run.success.delete()
    with pytest.raises(UsageError, match="is not finished; run its labeling command again"):
        export(run, "csv", str(tmp_path / "out"))


@pytest.mark.parametrize("to", FORMATS)
def test_a_destination_that_cannot_be_written_is_refused(to, whole, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("not a folder")
    for dest in ("https://127.0.0.1:9/out", str(tmp_path / "file" / "out")):
        with pytest.raises(UsageError, match="cannot write to|is a file"):
            export(whole, to, dest)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def clip(number, label, score, crop=0):
    return {
        **{"clip": number, "crop": crop, "start_s": 2.0 * number, "end_s": 2.0 * number + 1.5},
        **{"label": label, "label_id": "abc".index(label), "score": score},
    }


def test_neighboring_clips_of_one_label_are_a_segment():
    clips = [
        *(clip(0, "a", 0.5), clip(1, "a", 0.7), clip(1, "b", 0.6), clip(2, "b", 0.9)),
        *(clip(4, "b", 0.5), clip(5, "a", 0.25)),  # clip 3 failed
    ]
    found = module._segments({"video_id": "v"} | each for each in reversed(clips))
    assert found["v"] == (
        Segment(0.0, 3.5, "a", 0, pytest.approx(0.6), 2),
        Segment(4.0, 5.5, "b", 1, 0.9, 1),
        Segment(8.0, 9.5, "b", 1, 0.5, 1),
        Segment(10.0, 11.5, "a", 0, 0.25, 1),
    )


def test_frames_are_counted_from_one_and_lie_in_the_video():
    video = LabeledVideo(
        **dict.fromkeys(field.name for field in dataclasses.fields(LabeledVideo))
        | {"duration_s": 10.0, "frame_count": 250, "segments": ()}
    )
    assert video.fps == 25
    for start_s, end_s, frames in ((0, 10, (1, 250)), (2, 4, (51, 100)), (9.99, 12, (250, 250))):
        assert video.frames_of(Segment(start_s, end_s, "a", 0, 1.0, 1)) == frames
    unknown = dataclasses.replace(video, frame_count=None)
    assert unknown.frames_of(Segment(0, 1, "a", 0, 1.0, 1)) is None


def test_a_run_that_does_not_fit_into_memory_is_divided(dense, monkeypatch):
    at_once = {video.video_id: video for video in labeled_videos(dense)}
    monkeypatch.setattr(module, "_VIEWS_AT_ONCE", 5)
    divided = list(labeled_videos(dense))
    assert len(divided) == len(at_once)
    assert {video.video_id: video for video in divided} == at_once
