"""A table in parts: whole files under their names, and nothing else."""

import gc
from collections import deque

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.storage.location import Location
from pipeline.storage.parquet_parts import PartWriter

TABLE = pa.table({"a": range(10)})


def parts(folder):
    return {file.name: pq.read_table(file).num_rows for file in folder.iterdir()}


@pytest.fixture
def writer(tmp_path):
    return lambda: PartWriter(Location.of(str(tmp_path)), TABLE.schema, rows_per_file=20)


def test_a_file_ends_when_it_has_its_rows(writer, tmp_path):
    with writer() as opened:
        for _ in range(5):
            opened.write(TABLE)
    assert parts(tmp_path) == {
        "part-00000.parquet": 20, "part-00001.parquet": 20, "part-00002.parquet": 10,
    }  # fmt: skip


def test_an_empty_table_is_one_file_with_its_schema(writer, tmp_path):
    with writer():
        pass
    assert parts(tmp_path) == {"part-00000.parquet": 0}
    assert pq.read_schema(tmp_path / "part-00000.parquet").equals(TABLE.schema)


def test_an_exception_leaves_the_files_that_were_whole_by_then(writer, tmp_path):
    def tables():
        yield from [TABLE] * 3
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"), writer() as opened:
        deque(map(opened.write, tables()), maxlen=0)
    assert parts(tmp_path) == {"part-00000.parquet": 20}


def test_a_writer_that_is_collected_in_mid_file_leaves_the_files_that_were_whole(writer, tmp_path):
    def forget():
        opened = writer()
        for _ in range(3):
            opened.write(TABLE)

    forget()
    gc.collect()
    assert parts(tmp_path) == {"part-00000.parquet": 20}
