"""Local files appear whole or not at all, whoever writes them and however that ends."""

import gc
import os
import pickle
import resource
import signal
import subprocess
import sys
import threading

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest
from ray.data._internal.datasource.parquet_datasink import ParquetDatasink
from ray.data.checkpoint import CheckpointConfig

from pipeline.storage.atomic_files import HIDDEN_NAME, AtomicFile, AtomicFiles, sweep
from tests.processes import eventually

TABLE = pa.table({"a": np.arange(50_000)})


@pytest.fixture
def filesystem():
    return pickle.loads(pickle.dumps(AtomicFiles().filesystem()))


def names(folder):
    return sorted(entry.name for entry in folder.iterdir())


def test_what_arrow_writes_is_there_when_it_is_closed_and_not_before(filesystem, tmp_path):
    path = str(tmp_path / "a.parquet")
    with pq.ParquetWriter(path, TABLE.schema, filesystem=filesystem) as writer:
        writer.write_table(TABLE)
        (hidden,) = names(tmp_path)
        assert HIDDEN_NAME.fullmatch(hidden)
    assert names(tmp_path) == ["a.parquet"]
    assert pq.read_table(path, filesystem=filesystem).equals(TABLE)
    assert pq.read_table(path).equals(TABLE)


def test_a_new_file_replaces_an_old_one_in_one_step(filesystem, tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"old")
    with filesystem.open_output_stream(str(path)) as stream:
        stream.write(b"new")
        stream.flush()
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"


def test_permissions_are_those_of_any_new_file(tmp_path):
    (tmp_path / "plain").touch()
    with AtomicFile(str(tmp_path / "ours")) as file:
        file.write(b"x")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "plain").stat().st_mode


def write_dataset(data, folder, filesystem):
    """As Ray Data's writer calls it."""
    ds.write_dataset(
        data,
        str(folder),
        schema=TABLE.schema,
        basename_template="part-{i}.parquet",
        filesystem=filesystem,
        format="parquet",
        existing_data_behavior="overwrite_or_ignore",
        use_threads=True,
        create_dir=True,
    )


def test_a_dataset_is_written_and_found_again(filesystem, tmp_path):
    write_dataset([TABLE, TABLE], tmp_path / "new" / "folder", filesystem)
    assert names(tmp_path / "new" / "folder") == ["part-0.parquet"]
    found = ds.dataset(str(tmp_path / "new"), filesystem=filesystem, format="parquet")
    assert found.count_rows() == 2 * TABLE.num_rows


def test_ray_data_takes_it_and_does_not_go_on_with_one_of_its_own(filesystem, tmp_path):
    sink = ParquetDatasink(str(tmp_path), filesystem=filesystem)
    assert sink.filesystem.unwrap().handler == AtomicFiles()
    config = CheckpointConfig("id", str(tmp_path), override_filesystem=filesystem)
    assert config.filesystem.handler == AtomicFiles()


def test_everything_else_is_the_local_file_system(filesystem, tmp_path):
    root = str(tmp_path)
    filesystem.create_dir(f"{root}/a/b", recursive=True)
    with filesystem.open_output_stream(f"{root}/a/b/x.gz") as stream:
        stream.write(b"hello")
    assert filesystem.open_input_stream(f"{root}/a/b/x.gz").read() == b"hello"
    filesystem.copy_file(f"{root}/a/b/x.gz", f"{root}/a/y.gz")
    filesystem.move(f"{root}/a/y.gz", f"{root}/a/z.gz")
    infos = filesystem.get_file_info(pafs.FileSelector(f"{root}/a", recursive=True))
    assert sorted(info.path for info in infos) == [
        f"{root}/a/b", f"{root}/a/b/x.gz", f"{root}/a/z.gz",
    ]  # fmt: skip
    filesystem.delete_file(f"{root}/a/z.gz")
    filesystem.delete_dir_contents(f"{root}/a/b")
    filesystem.delete_dir(f"{root}/a")
    assert filesystem.get_file_info(f"{root}/a").type == pafs.FileType.NotFound
    with pytest.raises(FileNotFoundError):
        filesystem.open_input_file(f"{root}/nothing")
    with pytest.raises(OSError, match="cannot be appended"):
        filesystem.open_append_stream(f"{root}/x")


def test_an_exception_between_two_writes_leaves_nothing(filesystem, tmp_path):
    def fail_in_between():
        path = str(tmp_path / "a")
        with pq.ParquetWriter(path, TABLE.schema, filesystem=filesystem) as writer:
            writer.write_table(TABLE)
            raise KeyError

    with pytest.raises(KeyError):
        fail_in_between()
    assert names(tmp_path) == []


def test_a_stream_that_nobody_closes_leaves_nothing_whoever_writes_to_it(filesystem, tmp_path):
    def forget():
        stream = filesystem.open_output_stream(str(tmp_path / "a"))
        writer = pq.ParquetWriter(stream, TABLE.schema)
        writer.write_table(TABLE)

    forget()
    filesystem.open_output_stream(str(tmp_path / "b")).write(b"x")
    gc.collect()
    assert names(tmp_path) == []


def test_a_source_that_fails_leaves_nothing_of_its_dataset(filesystem, tmp_path):
    def batches():
        yield from TABLE.to_batches() * 20
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        write_dataset(batches(), tmp_path, filesystem)
    # Arrow's threads may still hold files.
    assert eventually(lambda: gc.collect() >= 0 and names(tmp_path) == [])


def test_a_file_closed_in_a_handler_of_an_older_exception_is_whole(filesystem, tmp_path):
    try:
        raise KeyError
    except KeyError:
        pq.write_table(TABLE, str(tmp_path / "a"), filesystem=filesystem)
        later = filesystem.open_output_stream(str(tmp_path / "b"))
    later.write(b"x")
    later.close()
    assert names(tmp_path) == ["a", "b"]


def test_a_disk_that_takes_no_more_leaves_nothing(filesystem, tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    noise = pa.table({"a": np.random.default_rng(0).integers(2**62, size=200_000)})
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, hard))
        with pytest.raises(OSError, match="too large"):
            pq.write_table(noise, str(tmp_path / "a"), filesystem=filesystem)
        with pytest.raises(OSError, match="too large"):
            write_dataset(noise, tmp_path, filesystem)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)

    def is_empty():
        gc.collect()
        return names(tmp_path) == []

    assert eventually(is_empty)  # a dataset's writer lets go of its file in a thread of its own


WRITE_UNTIL_KILLED = """
import sys, pyarrow as pa, pyarrow.parquet as pq
from pipeline.storage.atomic_files import AtomicFiles
table = pa.table({"a": range(100_000)})
with pq.ParquetWriter(sys.argv[1], table.schema, filesystem=AtomicFiles().filesystem()) as writer:
    while True:
        writer.write_table(table)
        print("written", flush=True)
"""


@pytest.fixture
def writing(tmp_path):
    """A process that is in the middle of writing a.parquet."""
    process = subprocess.Popen(
        [sys.executable, "-c", WRITE_UNTIL_KILLED, str(tmp_path / "a.parquet")],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    for _ in range(3):
        assert process.stdout.readline() == "written\n"
    reader = threading.Thread(target=process.stdout.read, daemon=True)
    reader.start()
    yield process
    process.kill()
    process.wait()
    reader.join()


def test_a_killed_writer_leaves_only_a_hidden_file_which_a_sweep_removes(writing, tmp_path):
    writing.send_signal(signal.SIGKILL)
    writing.wait()
    (left,) = names(tmp_path)
    assert HIDDEN_NAME.fullmatch(left)
    assert (tmp_path / left).stat().st_size > 0
    assert sweep(str(tmp_path)) == 1
    assert names(tmp_path) == []


def test_a_sweep_takes_nothing_that_is_being_written_or_is_not_ours(writing, tmp_path):
    (tmp_path / ".writing-mine").touch()
    (tmp_path / "b.parquet").touch()
    assert sweep(str(tmp_path)) == 0
    assert len(names(tmp_path)) == 3
    assert sweep(str(tmp_path / "nowhere")) == 0
