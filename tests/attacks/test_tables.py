"""Tables and folders of frames that lie about what they hold cost a row, and little memory."""

from __future__ import annotations

import contextlib
import random
import struct
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import UsageError
from pipeline.inputs.listing import Listing
from workers.decoding import DecodeLimits, SandboxedDecoder, Unit
from workers.failures import ErrorType, UnitFailure
from workers.io.fetching import open_source
from workers.io.parquet_cells import _hybrid
from workers.io.parquet_headers import pages, read_struct
from workers.sampling import protocol

WHOLE = protocol("videomae-k400", size=56)
VIDEO = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def varint(value: int) -> bytes:
    data = b""
    while value > 127:
        data, value = data + bytes([value & 127 | 128]), value >> 7
    return data + bytes([value])


def zigzag(value: int) -> bytes:
    return varint(value << 1)


def data_page(*, size: int, raw_size: int, values: int, encoding: int = 0) -> bytes:
    """A header of a page of version 1."""
    detail = b"\x15" + zigzag(values) + b"\x15" + zigzag(encoding) + b"\x15\x06\x15\x06\x00"
    return b"\x15\x00\x15" + zigzag(raw_size) + b"\x15" + zigzag(size) + b"\x2c" + detail + b"\x00"


def with_page(path: Path, header: bytes, content: bytes, *, codec: str) -> Path:
    """A file whose only page of videos is another one than its footer was written for."""
    table = pa.table({"video": [b"x" * 3000, b"y" * 3000, b"z" * 3000]})
    pq.write_table(table, path, compression=codec, use_dictionary=False, write_statistics=False)
    chunk = pq.read_metadata(path).row_group(0).column(0)
    data = bytearray(path.read_bytes())
    start, size = chunk.data_page_offset, chunk.total_compressed_size
    room = size - len(header)
    data[start : start + size] = header + content[:room].ljust(room, b"\0")
    path.write_bytes(data)
    return path


def failure_of(path: Path, part: str) -> UnitFailure:
    with pytest.raises(UnitFailure) as caught, open_source(str(path), part=part) as source:
        source.read_at(0, 1 << 20)
    return caught.value


@pytest.mark.parametrize(
    ("claim", "reason"),
    [
        ({"raw_size": 2**31 - 1, "values": 3}, ErrorType.too_large),
        ({"raw_size": 2**30, "values": 3}, ErrorType.too_large),
        ({"raw_size": 9000, "values": 2**31 - 1}, ErrorType.corrupt),
        ({"raw_size": 9000, "values": 2}, ErrorType.corrupt),
        ({"raw_size": 9000, "values": 3, "encoding": 8}, ErrorType.corrupt),
        ({"raw_size": 9000, "values": 3, "encoding": 6}, ErrorType.corrupt),
        ({"raw_size": 0, "values": 3}, ErrorType.corrupt),
    ],
)
def test_a_page_that_lies_about_its_size_takes_no_memory(
    tmp_path: Path, claim: dict[str, int], reason: ErrorType
) -> None:
    header = data_page(size=300, **claim)
    path = with_page(tmp_path / "x.parquet", header, b"", codec="snappy")
    size = pq.read_metadata(path).row_group(0).column(0).total_compressed_size
    header = data_page(size=size - len(header), **claim)
    path = with_page(tmp_path / "x.parquet", header, b"", codec="snappy")
    tracemalloc.start()
    before = pa.total_allocated_bytes()
    failure = failure_of(path, "parquet:0/1/video")
    assert tracemalloc.get_traced_memory()[1] < 64 << 20
    tracemalloc.stop()
    assert pa.total_allocated_bytes() - before < 64 << 20
    assert failure.error_type is reason, failure


def test_values_that_reach_beyond_their_page_are_refused_by_the_listing(tmp_path: Path) -> None:
    table = pa.table({"video": [b"x" * 3000, b"y" * 3000]})
    path = tmp_path / "x.parquet"
    pq.write_table(table, path, compression="none", use_dictionary=False)
    data = bytearray(path.read_bytes())
    at = data.index(struct.pack("<I", 3000) + b"yyy")
    for length in (3001, 2**31, 2**32 - 1):
        data[at : at + 4] = struct.pack("<I", length)
        path.write_bytes(data)
        with pytest.raises(UsageError, match=r"x\.parquet"):
            list(Listing(str(path)).videos())


def test_a_damaged_table_ends_a_listing_with_a_sentence(tmp_path: Path) -> None:
    drawn = random.Random(1)
    rows = [{"bytes": drawn.randbytes(2000), "path": "a.mp4"} for _ in range(30)]
    for number in range(60):
        path = tmp_path / f"{number}.parquet"
        pq.write_table(pa.table({"video": pa.array(rows, VIDEO)}), path, compression="none")
        data = bytearray(path.read_bytes())
        for _ in range(20):
            data[drawn.randrange(4, len(data) - 8)] = drawn.randrange(256)
        path.write_bytes(data)
        with contextlib.suppress(UsageError):
            list(Listing(str(path)).videos())


def test_headers_and_numbers_of_pages_end_whatever_they_say() -> None:
    drawn = random.Random(2)
    for _ in range(3000):
        data = drawn.randbytes(drawn.randrange(1, 80))
        for parse in (
            lambda data: read_struct(data, 0),
            lambda data: list(pages(lambda at, n: data[at : at + n], 0, len(data))),
            lambda data: _hybrid(data, 0, data[0] % 33, 1000),
        ):
            try:
                parse(data)
            except (ValueError, IndexError):
                continue
    with pytest.raises(ValueError, match="nested"):
        read_struct(b"\x1c" * 1000, 0)


def chunk(kind: bytes, content: bytes) -> bytes:
    checked = kind + content
    return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))


def png(width: int, height: int, content: bytes, *, bits: int = 24) -> bytes:
    """Of 24 bits a pixel, or of one."""
    depth, color = (8, 2) if bits == 24 else (bits, 0)
    head = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    parts = (chunk(b"IHDR", head), chunk(b"IDAT", content), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize("side", [30_000, 2**31 - 1])
def test_a_picture_that_claims_many_pixels_is_too_large(tmp_path: Path, side: int) -> None:
    bomb = png(side, side, zlib.compress(bytes(1 << 20)))
    for number in range(20):
        (tmp_path / f"{number}.png").write_bytes(bomb)
    with SandboxedDecoder(WHOLE) as decoder:
        failure = decoder.decode(Unit("u", "v", str(tmp_path), part="frames:25"))
        assert isinstance(failure, UnitFailure)
        assert failure.error_type is ErrorType.too_large, failure
        assert decoder.child_pid is not None


def test_small_pictures_of_many_pixels_end_within_the_limits(tmp_path: Path) -> None:
    """Each is below the limit of a picture; together they are more than their bytes justify."""
    bomb = png(8000, 4000, zlib.compress(bytes(8000 // 8 + 1) * 4000, 9), bits=1)
    for number in range(400):
        (tmp_path / f"{number}.png").write_bytes(bomb)
    with SandboxedDecoder(WHOLE, limits=DecodeLimits(quick=True)) as decoder:
        failure = decoder.decode(Unit("u", "v", str(tmp_path), part="frames:25"))
    assert isinstance(failure, UnitFailure)
    assert failure.error_type is ErrorType.deferred, failure


def test_bytes_that_are_no_pictures_never_end_the_decoder(tmp_path: Path) -> None:
    import cv2

    drawn = random.Random(3)
    sound = cv2.imencode(".jpg", np.zeros((64, 64, 3), dtype=np.uint8))[1].tobytes()
    with SandboxedDecoder(WHOLE) as decoder:
        for trial in range(10):
            for number in range(20):
                data = bytearray(sound)
                for _ in range(10):
                    data[drawn.randrange(2, len(data) - 2)] = drawn.randrange(256)
                (tmp_path / f"{number}.jpg").write_bytes(data)
            pid = decoder.child_pid
            found = decoder.decode(Unit("u", f"{trial}", str(tmp_path), part="frames:25"))
            if isinstance(found, UnitFailure):
                assert found.error_type in (ErrorType.corrupt, ErrorType.too_large), found
            assert decoder.child_pid == pid


def test_a_link_in_a_folder_of_frames_is_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "secret.png"
    outside.write_bytes(b"secret")
    folder = tmp_path / "frames"
    folder.mkdir()
    for number in range(5):
        (folder / f"{number}.png").symlink_to(outside)
    with SandboxedDecoder(WHOLE) as decoder:
        failure = decoder.decode(Unit("u", "v", str(folder), part="frames:25"))
    assert isinstance(failure, UnitFailure)
    assert failure.error_type is ErrorType.not_video
