"""The run directory: whole files, and one identity per run."""

import json
import os
import pickle
from dataclasses import replace

import pytest

from pipeline.errors import OutputLostError, UsageError
from pipeline.run.own_files import OwnFiles
from pipeline.run.run_directory import RunDirectory, check_same, environment
from pipeline.storage.location import Location
from tests.run_records import run_record


def test_a_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    target = Location.of(str(tmp_path / "run.json"))
    target.write_bytes(b"old")

    def die(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", die)
    with pytest.raises(OSError, match="disk full"):
        target.write_bytes(b"new")
    assert target.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


def test_run_json_comes_back_as_it_went(tmp_path):
    run = RunDirectory(Location.of(str(tmp_path / "out")))
    assert not run.exists()
    record = run_record({"model": {"labels": ["é"]}})
    run.save(record)
    assert run.exists()
    assert run.load() == record


def test_a_run_writes_only_where_it_began(tmp_path):
    run = RunDirectory(Location.of(str(tmp_path / "out")))
    record = run.create(run_record())
    run.save(replace(record, min_agreement=0.5))
    assert run.load().min_agreement == 0.5
    (tmp_path / "out").rename(tmp_path / "aside")
    with pytest.raises(OutputLostError, match="was removed, replaced or unmounted"):
        run.save(record)
    assert not (tmp_path / "out").exists()
    other = run.create(run_record({"identity": {"limit": 3}}))
    with pytest.raises(OutputLostError, match="was replaced by another run"):
        run.save(record)
    assert run.load() == other


def test_a_run_whose_mark_was_deleted_makes_it_anew_when_it_is_resumed(tmp_path):
    run = RunDirectory(Location.of(str(tmp_path / "out")))
    record = run.create(run_record())
    (tmp_path / "out" / "_run_id").unlink()
    assert run.resume() == record
    run.save(record)


@pytest.mark.parametrize("place", ["directory", "s3"])
def test_workers_write_to_the_run_that_they_work_for_and_to_no_other(place, request, tmp_path):
    root = Location.of(str(tmp_path / "out"))
    if place == "s3":
        request.getfixturevalue("s3").create_bucket(Bucket="own-files")
        root = Location.of("s3://own-files/out")
    run = RunDirectory(root)
    run_id = run.create(run_record()).run_id
    filesystem = pickle.loads(pickle.dumps(OwnFiles(run, run_id).filesystem()))
    folder = run.units.filesystem()[1]
    filesystem.create_dir(folder)
    with filesystem.open_output_stream(f"{folder}/a") as stream:
        stream.write(b"rows")
    run.mark.write_bytes(b"another")
    for write in (
        lambda: filesystem.open_output_stream(f"{folder}/b"),
        lambda: filesystem.create_dir(f"{folder}/c"),
        lambda: filesystem.move(f"{folder}/a", f"{folder}/d"),
    ):
        with pytest.raises(OutputLostError, match="was replaced by another run"):
            write()
    assert [file.name for file in run.units.files("")] == ["a"]


@pytest.mark.parametrize("content", ["nonsense", "[]", "{}", '{"identity": 3}'])
def test_a_foreign_run_json_is_refused(tmp_path, content):
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(UsageError, match="not a run.json of this program"):
        RunDirectory(Location.of(str(tmp_path))).load()


def test_another_identity_is_refused_with_everything_that_differs():
    recorded = run_record({"identity": {"model": "sha256:a"}}).identity
    check_same(recorded, replace(recorded), "out")
    with pytest.raises(UsageError) as caught:
        check_same(recorded, replace(recorded, model="sha256:b", limit=5), "out")
    said = str(caught.value)
    assert "limit: not set in the run, 5 now" in said
    assert "model: sha256:a in the run, sha256:b now" in said
    assert "decoder" not in said


def test_of_many_variants_that_differ_one_is_shown():
    variants = [{f"v{n}": {"r": r} for n in range(40)} for r in (1, 2)]
    variants[0]["v0"] = variants[1]["v0"]
    there, here = (run_record({"identity": {"variants": each}}).identity for each in variants)
    with pytest.raises(
        UsageError, match=r"variants.v1.r: 1 in the run, 2 now; 38 more of variants"
    ) as said:
        check_same(there, here, "out")
    assert len(str(said.value)) < 200


def test_output_on_object_storage_reads_and_writes_the_same_way(s3):
    s3.create_bucket(Bucket="output")
    run = RunDirectory(Location.of("s3://output/night/1/"))
    run.root.check_writable()
    assert not run.exists()
    record = run_record()
    run.save(record)
    assert json.loads(run.run_json.read_bytes()) == record.to_json()
    assert [file.uri for file in run.root.files(".json")] == ["s3://output/night/1/run.json"]
    assert run.units.files(".parquet") == []


def test_an_output_that_cannot_be_written_is_refused(tmp_path, s3):
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="cannot write to"):
        Location.of(str(tmp_path / "file" / "out")).check_writable()
    with pytest.raises(UsageError, match="cannot write to s3://absent-bucket/x"):
        Location.of("s3://absent-bucket/x").check_writable()


def test_the_environment_names_code_and_packages():
    named = environment()
    assert named.code
    assert named.packages["ray"]
