"""Parquet files in object storage: only what is wanted is fetched, of one version of the file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.storage.location import Location
from pipeline.storage.parquet_files import parquet_file, read_parquet
from tests.scripted_storage import Storage

KEY = "/bucket/table.parquet"
URI = Location(f"s3:/{KEY}")


def table(rows: int) -> pa.Table:
    """Some ids, and bytes that do not compress."""
    bytes_of_row = [np.random.default_rng(row).bytes(10_000) for row in range(rows)]
    return pa.table({"id": pa.array(range(rows)), "bytes": pa.array(bytes_of_row)})


def written(storage: Storage, folder: Path, *, rows: int) -> Location:
    """A table in object storage; the same file on a local disk."""
    path = folder / "table.parquet"
    pq.write_table(table(rows), path, row_group_size=max(1, rows // 4))
    storage.objects[KEY] = path.read_bytes()
    return Location(str(path))


@pytest.mark.parametrize("rows", [0, 3, 100, 2000])
def test_a_table_is_the_same_from_object_storage_and_from_a_disk(
    storage: Storage, tmp_path: Path, rows: int
) -> None:
    local = written(storage, tmp_path, rows=rows)
    assert read_parquet(URI).equals(read_parquet(local))
    assert read_parquet(URI, ["id"]).equals(read_parquet(local, ["id"]))
    with parquet_file(URI) as there, parquet_file(local) as here:
        assert there.metadata.equals(here.metadata)
        for number in range(here.num_row_groups):
            assert there.read_row_group(number).equals(here.read_row_group(number))


def test_of_a_large_table_the_columns_that_are_read_are_fetched_alone(
    storage: Storage, tmp_path: Path
) -> None:
    written(storage, tmp_path, rows=2000)
    with parquet_file(URI) as opened:
        assert opened.metadata.num_rows == 2000
    footer = storage.sent
    assert footer < 0.1 * len(storage.objects[KEY])
    assert read_parquet(URI, ["id"])["id"].to_pylist() == list(range(2000))
    assert storage.sent - footer < 0.4 * len(storage.objects[KEY])


def test_a_small_table_is_one_request(storage: Storage, tmp_path: Path) -> None:
    written(storage, tmp_path, rows=3)
    read_parquet(URI, ["id"])
    assert len(storage.ranges) == 1


@pytest.mark.slow
def test_a_connection_that_breaks_off_is_repeated(storage: Storage, tmp_path: Path) -> None:
    local = written(storage, tmp_path, rows=2000)
    storage.cuts = [1000, 20, 0]
    assert read_parquet(URI).equals(read_parquet(local))


def test_a_table_that_is_replaced_meanwhile_is_refused_and_not_mixed(
    storage: Storage, tmp_path: Path
) -> None:
    written(storage, tmp_path, rows=2000)
    with parquet_file(URI) as opened:
        storage.etag = '"two"'
        with pytest.raises(OSError, match=r"s3://bucket/table\.parquet"):
            opened.read()


def test_what_is_missing_or_no_table_is_said(storage: Storage, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"s3://bucket/table\.parquet"):
        read_parquet(URI)
    storage.objects[KEY] = b"no table" * 1000
    with pytest.raises(pa.ArrowInvalid, match="magic bytes"):
        read_parquet(URI)


def test_a_process_that_ends_right_after_reading_is_not_aborted(
    storage: Storage, tmp_path: Path
) -> None:
    written(storage, tmp_path, rows=2000)
    code = (
        "from pipeline.storage.location import Location\n"
        "from pipeline.storage.parquet_files import parquet_file\n"
        f"opened = parquet_file(Location({URI.uri!r}))\n"
        "print(next(opened.iter_batches(100)).num_rows)"
    )
    for _ in range(5):
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stdout) == (0, "100\n"), done.stderr
