"""`--since`: which videos stand as labeled in earlier runs, and which runs are refused."""

import dataclasses
import os
import tracemalloc

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import UsageError
from pipeline.inputs.manifest import write_manifest
from pipeline.inputs.video import Video
from pipeline.labeling.options import LabelOptions
from pipeline.planner.sample import listed
from pipeline.run import earlier_runs
from pipeline.run.earlier_runs import EarlierRuns, LeftOut
from pipeline.run.run_directory import RunDirectory
from pipeline.storage.location import Location
from tests.pipeline.synthetic_runs import (
    BEGAN,
    EVERY_S,
    Made,
    attempt,
    segments,
    unit,
    write_run,
)

SINCE = BEGAN.timestamp()


def directory(folder):
    return RunDirectory(Location.of(str(folder)))


def make(folder, videos, *, failing=(), **changes):
    """A finished run over these videos."""
    made = Made(failing=tuple(failing))
    rows = [unit(video.video_id, made, second=1) for video in videos]
    write_run(folder, rows, made, **changes)
    directory(folder).manifest.delete_parts()
    write_manifest(videos, directory(folder).manifest)
    return directory(folder)


def objects(*names, etag='"1"', size=7):
    return [Video(name, f"s3://bucket/{name}", size, etag=etag) for name in names]


def new(runs, videos):
    """Ids of the videos that the runs did not label, and how many they did."""
    left_out = LeftOut()
    found = [each.video_id for each in EarlierRuns(runs).new(videos, left_out)]
    return found, left_out.videos


def since(*runs, identity=None, output="out", **changes):
    identity = identity or runs[0].load().identity
    named = [run.root.uri for run in runs]
    asked = dataclasses.replace(identity, **changes)
    return EarlierRuns.of(named, asked, Location.of(str(output)))


def test_a_labeled_video_is_left_out_until_its_uri_size_part_or_etag_differs(tmp_path):
    run = make(tmp_path / "old", objects("a", "b", "c", "d"), failing=["d"])
    again = [
        *objects("a"),
        *objects("b", etag='"2"'),
        *objects("c", size=8),
        *objects("d", "e"),
        dataclasses.replace(objects("a")[0], video_id="a in a part", part="bytes:0+7"),
        dataclasses.replace(objects("a")[0], video_id="of another name"),
    ]
    assert new([run], again) == (["b", "c", "d", "e", "a in a part"], 2)


def test_a_member_of_a_gzipped_archive_is_the_same_wherever_its_index_lies(tmp_path):
    def member(index, offset=512):
        part = f"gzip:{offset}+7@{tmp_path}/{index}.gzidx"
        return dataclasses.replace(objects("a")[0], video_id=f"a/{offset}", part=part)

    run = make(tmp_path / "old", [member("old")])
    assert new([run], [member("new"), member("new", 2048)]) == (["a/2048"], 1)


def test_a_file_that_was_modified_since_is_new(tmp_path):
    videos = []
    for name, changed in (("before.mp4", -10), ("after.mp4", 10), ("at-that-second.mp4", 0)):
        path = tmp_path / name
        path.write_bytes(b"1234567")
        os.utime(path, (SINCE + changed, SINCE + changed))
        videos.append(Video(name, str(path), 7))
    videos.append(Video("gone.mp4", str(tmp_path / "gone.mp4"), 7))
    run = make(tmp_path / "old", videos)
    assert new([run], videos) == (["after.mp4", "at-that-second.mp4", "gone.mp4"], 1)
    later = make(tmp_path / "later", videos, attempts=[attempt(20, 30)])
    assert new([run, later], videos) == (["gone.mp4"], 3)


def test_addresses_without_size_and_etag_are_counted_apart(tmp_path):
    videos = [*objects("a", etag=None, size=None), *objects("b")]
    run = make(tmp_path / "old", videos)
    left_out = LeftOut()
    assert list(EarlierRuns([run]).new(videos, left_out)) == []
    assert (left_out.videos, left_out.by_address) == (2, 1)


def test_of_an_unfinished_run_what_is_confirmed_and_can_be_read_counts(tmp_path):
    videos = objects(*"abcdef")
    run = make(tmp_path / "old", videos)
    run.success.delete()
    assert new([run], videos) == (list("abcdef"), 0)
    first, second, _ = sorted((tmp_path / "old" / "units").iterdir())
    (tmp_path / "old" / "_checkpoint").mkdir()
    for file in (first, second):
        name = file.name.replace("-0.parquet", ".parquet")
        pq.write_table(
            pq.read_table(file, columns=["unit_id"]), run.root.child("_checkpoint").child(name).uri
        )
    second.write_bytes(second.read_bytes()[:100])
    labeled = pq.read_table(first)["video_id"].to_pylist()
    found, count = new([run], videos)
    assert count == len(labeled) == 2
    assert sorted(found) == sorted(set("abcdef") - set(labeled))


def test_a_recording_is_labeled_if_all_segments_have_a_row_and_half_of_them_a_label(tmp_path):
    names = ("a", "b", "c", "d")
    rows = [row for name in names for row in segments(name, Made(), 3)]
    write_run(tmp_path / "old", rows, Made(), every_s=EVERY_S)
    failed, missing = {("b", 0.0), ("c", 0.0), ("c", 8.0)}, {("d", 0.0)}
    for file in sorted((tmp_path / "old" / "units").iterdir()):
        table = pq.read_table(file)
        kept = [
            row | ({"status": "failed"} if (row["video_id"], row["start_s"]) in failed else {})
            for row in table.to_pylist()
            if (row["video_id"], row["start_s"]) not in missing
        ]
        pq.write_table(pa.Table.from_pylist(kept, schema=table.schema), file)
    videos = [Video(name, f"s3://bucket/{name}") for name in names]
    assert new([directory(tmp_path / "old")], videos) == (["c", "d"], 2)


def test_runs_that_an_earlier_run_left_out_are_left_out_too(tmp_path):
    first = make(tmp_path / "1", objects("a"))
    second = make(tmp_path / "2", objects("b"))
    record = second.load()
    identity = dataclasses.replace(record.identity, since=(first.root.uri,))
    second.save(dataclasses.replace(record, identity=identity))
    runs = since(second).runs
    assert {run.root.uri for run in runs} == {first.root.uri, second.root.uri}
    assert new(runs, objects("a", "b", "c")) == (["c"], 2)


def test_an_earlier_run_may_lie_in_a_bucket(tmp_path, s3):
    run = make(tmp_path / "old", objects("a"))
    s3.create_bucket(Bucket="earlier")
    for path in (tmp_path / "old").rglob("*"):
        if path.is_file():
            s3.upload_file(str(path), "earlier", f"night/{path.relative_to(tmp_path / 'old')}")
    there = RunDirectory(Location.of("s3://earlier/night"))
    runs = since(there, identity=run.load().identity).runs
    assert new(runs, objects("a", "b")) == (["b"], 1)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model": "other"}, "model: abc in that run, other now"),
        ({"labels": "ten"}, "labels: eight in that run, ten now"),
        ({"pruning": {"r": 5}}, "pruning.r: 0 in that run, 5 now"),
        ({"decoder": "decord"}, "decoder: .* in that run, decord now"),
    ],
)
def test_a_run_of_other_settings_is_refused_with_what_differs(tmp_path, change, said):
    run = make(tmp_path / "old", objects("a"))
    with pytest.raises(UsageError, match=said):
        since(run, **change)


def test_what_chooses_videos_may_differ(tmp_path):
    run = make(tmp_path / "old", objects("a"))
    changes = {"input": "elsewhere", "limit": 3, "all_files": True, "shadow_share": 0.5}
    assert len(since(run, **changes).runs) == 1


def test_fields_of_an_identity_decide_labels_or_are_known_to_be_free():
    fields = {field.name for field in dataclasses.fields(earlier_runs.Identity)}
    decide = {
        *("model", "shape", "labels", "protocol", "decoder", "decode", "pruning", "variants"),
        *("early_exit", "budget", "early_exit_curve", "sweep_schema", "head"),
    }
    assert fields == decide | earlier_runs._FREE


def test_no_run_and_output_itself_are_refused(tmp_path):
    run = make(tmp_path / "old", objects("a"))
    with pytest.raises(UsageError, match="is OUTPUT itself"):
        since(run, output=tmp_path / "old")
    missing = directory(tmp_path / "none")
    with pytest.raises(UsageError, match=r"--since names .*none.*there is no run in"):
        since(missing, identity=run.load().identity)


def test_memory_is_a_few_bytes_per_labeled_video(tmp_path):
    count = 20_000
    videos = objects(*(f"{number:06d}" for number in range(count)))
    run = make(tmp_path / "old", objects("a"))
    run.manifest.delete_parts()
    write_manifest(videos, run.manifest)
    labeled = earlier_runs._Labeled.of(run)
    assert labeled.digests.nbytes == 0
    tracemalloc.start()
    left = sum(1 for _ in EarlierRuns([run]).new(iter(videos), LeftOut()))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert left == count
    assert peak < 600 * count


def test_a_plan_counts_what_is_new(tmp_path):
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / name).write_bytes(b"1234567")
        os.utime(tmp_path / name, (SINCE - 10, SINCE - 10))
    options = LabelOptions("k400", str(tmp_path), "out", checkpoint="demo")
    run = make(tmp_path / "old", [Video("a.mp4", str(tmp_path / "a.mp4"), 7)])
    found = listed(options, EarlierRuns([run]))
    assert [video.video_id for video in found.videos] == ["b.mp4"]
    (tmp_path / "b.mp4").unlink()
    with pytest.raises(UsageError, match="no new video in"):
        listed(options, EarlierRuns([run]))
