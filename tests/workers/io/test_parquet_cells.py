"""Values of Parquet columns: found page by page as pyarrow reads them, however they are written."""

from __future__ import annotations

import itertools
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests import videos
from tests.scripted_storage import Storage
from workers.decoding import DecodedUnit, SandboxedDecoder, Unit
from workers.failures import ErrorType, UnitFailure
from workers.io import parquet_part
from workers.io.fetching import open_source
from workers.io.parquet_cells import ColumnChunk, Pages
from workers.sampling import protocol

VIDEO = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
WRITERS = {
    "datasets": {"compression": {"video.bytes": "none", "video.path": "snappy"},
                 "use_dictionary": ["video.path"], "column_encoding": {"video.bytes": "PLAIN"},
                 "use_content_defined_chunking": True, "write_page_index": True},
    "older datasets": {"compression": "snappy"},
    "small pages": {"data_page_size": 1 << 12, "write_batch_size": 2},
    "no dictionary": {"use_dictionary": False},
    "version 2": {"data_page_version": "2.0"},
    "version 2, stored": {"data_page_version": "2.0", "compression": "none",
                          "use_dictionary": False},
    "zstd": {"compression": "zstd"},
    "gzip": {"compression": "gzip", "data_page_version": "2.0"},
    "brotli": {"compression": "brotli"},
    "lz4": {"compression": "lz4", "use_dictionary": False},
    "stored dictionary": {"compression": "none"},
}  # fmt: skip


def values(count: int, *, nulls: bool) -> list[bytes | None]:
    """Values of many lengths, some repeated, in runs of nulls and alone."""
    drawn = random.Random(count)
    found: list[bytes | None] = [drawn.randbytes(drawn.choice([0, 1, 50, 9_000])) for _ in range(7)]
    found += [drawn.randbytes(drawn.randrange(20_000)) for _ in range(count - 7)]
    found[3] = found[5]
    if nulls:
        for at in [0, *range(10, 20), count - 1]:
            found[at] = None
    return found


def written(path: Path, content: list[bytes | None], **writer: object) -> None:
    rows = [{"bytes": each, "path": f"{at}.mp4"} for at, each in enumerate(content)]
    for at in range(4, len(rows), 9):
        if content[at] is None:
            rows[at] = None  # type: ignore[call-overload]
    pq.write_table(pa.table({"video": pa.array(rows, VIDEO)}), path, row_group_size=31, **writer)


def found(path: Path) -> list[bytes | None]:
    """Every value of the column video.bytes, found row by row."""
    data, metadata = path.read_bytes(), pq.read_metadata(path)
    read = lambda offset, count: data[offset : offset + count]  # noqa: E731
    result: list[bytes | None] = []
    for group in range(metadata.num_row_groups):
        pages = Pages.of(read, ColumnChunk.of(metadata, group, "video.bytes"))
        for first, page in pages.data:
            cells = pages.cells(read, first, page)
            assert cells.first == first
            whole = data if cells.data is None else cells.data
            result += [span and whole[span[0] : sum(span)] for span in cells.spans]
    return result


@pytest.mark.parametrize("nulls", [False, True])
@pytest.mark.parametrize("writer", list(WRITERS))
def test_values_are_found_as_pyarrow_reads_them(tmp_path: Path, writer: str, nulls: bool) -> None:
    content = values(100, nulls=nulls)
    written(tmp_path / "x.parquet", content, **WRITERS[writer])
    assert found(tmp_path / "x.parquet") == content


def test_values_without_compression_are_found_by_their_lengths_alone(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    content = [random.Random(at).randbytes(1 << 20) for at in range(20)]
    written(path, content, **WRITERS["datasets"])
    data, metadata, came = path.read_bytes(), pq.read_metadata(path), 0

    def read(offset: int, count: int) -> bytes:
        nonlocal came
        came += count
        return data[offset : offset + count]

    pages = Pages.of(read, ColumnChunk.of(metadata, 0, "video.bytes"))
    spans = [span for first, page in pages.data for span in pages.cells(read, first, page).spans]
    assert [span and data[span[0] : sum(span)] for span in spans] == content
    assert came < 20 * 4096


@pytest.mark.parametrize("where", ["file", "object"])
def test_rows_are_decoded_like_files_and_their_page_is_read_once(
    tmp_path: Path, storage: Storage, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["a.mp4", "b.mp4", "c.mp4"]
    paths = [videos.write_video(tmp_path / n, frames=20 + i) for i, n in enumerate(names)]
    written(tmp_path / "x.parquet", [path.read_bytes() for path in paths], compression="snappy")
    storage.objects["/bucket/x.parquet"] = (tmp_path / "x.parquet").read_bytes()
    read: list[object] = []
    page = parquet_part._page
    monkeypatch.setattr(parquet_part, "_page", lambda *of: (read.append(of), page(*of))[1])
    uri = str(tmp_path / "x.parquet") if where == "file" else "s3://bucket/x.parquet"
    with SandboxedDecoder(protocol("videomae-k400", size=56)) as decoder:
        for row, path in enumerate(paths):
            alone = decoder.decode(Unit("u", "v", str(path)))
            assert isinstance(alone, DecodedUnit), alone
            frames = alone.frames.copy()
            part = f"parquet:0/{row}/video.bytes"
            decoded = decoder.decode(Unit("u", "v", uri, part=part))
            assert isinstance(decoded, DecodedUnit), decoded
            assert (decoded.frames == frames).all()
    assert len(read) == 1


def test_rows_that_cannot_be_read_have_a_reason(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    written(path, [b"abc", None, b"", b"abcd"], compression="snappy")
    for part, reason, words in (
        ("0/1/video.bytes", ErrorType.empty, "the row has no video.bytes"),
        ("0/2/video.bytes", ErrorType.empty, "no bytes"),
        ("0/3/video.bytes", ErrorType.too_large, "4 bytes"),
        ("0/4/video.bytes", ErrorType.corrupt, "4 rows"),
        ("1/0/video.bytes", ErrorType.corrupt, "1 row groups"),
        ("0/0/image", ErrorType.corrupt, "no column image"),
    ):
        with (
            pytest.raises(UnitFailure, match=words) as caught,
            open_source(str(path), part=f"parquet:{part}", max_bytes=3),
        ):
            pass
        assert caught.value.error_type is reason


def test_any_damage_is_a_reason_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    drawn, seen = random.Random(0), set()
    for writer, _ in itertools.product(("older datasets", "stored dictionary", "zstd"), range(40)):
        written(path, values(40, nulls=True), **WRITERS[writer])
        data = bytearray(path.read_bytes())
        for _ in range(30):
            data[drawn.randrange(len(data) // 2)] = drawn.randrange(256)
        data[drawn.randrange(8)] ^= 255
        path.write_bytes(data)
        for row in (5, 20):
            try:
                with open_source(str(path), part=f"parquet:0/{row}/video.bytes") as source:
                    source.read_at(0, 1 << 20)
            except UnitFailure as failure:
                seen.add(failure.error_type)
    assert seen <= {ErrorType.corrupt, ErrorType.empty}
