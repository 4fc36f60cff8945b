"""Where the values of a Parquet column of bytes lie, page by page, without holding the column.

pyarrow reads a column by whole row groups, which may be gigabytes of videos. Here a value is found
in its page alone, and in a page without compression it is a range of bytes of the file, which needs
no more than the lengths between the values to be read. Everything raises ValueError for what is
damaged or written in a way that is not read.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from workers.io.parquet_headers import (
    PLAIN,
    PLAIN_DICTIONARY,
    RLE_DICTIONARY,
    Page,
    PageKind,
    Read,
    pages,
)

MOST_PAGE_BYTES = 256 << 20
"""The largest page that is decompressed; a decoder holds it up to three times for a moment."""

_CODECS = {
    "UNCOMPRESSED": None, "SNAPPY": "snappy", "GZIP": "gzip", "ZSTD": "zstd", "BROTLI": "brotli",
    "LZ4": "lz4_raw", "LZ4_RAW": "lz4_raw",
}  # fmt: skip

Span = tuple[int, int]
"""Offset and size of a value."""

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class ColumnChunk:
    """A column of bytes in one row group.

    Attributes:
        start: its first byte in the file.
        end: the byte behind its last.
        codec: by which its pages are compressed, None for none.
        levels: the highest definition level; 0 for a column without nulls.
        rows: number of rows.
        whole: whether it is known that no row is null.
    """

    start: int
    end: int
    codec: str | None
    levels: int
    rows: int
    whole: bool

    @classmethod
    def of(cls, metadata: Any, row_group: int, column: str) -> ColumnChunk:
        """The chunk of a column such as "video.bytes" in a file of pyarrow's FileMetaData."""
        if not 0 <= row_group < metadata.num_row_groups:
            raise ValueError(f"the file has {metadata.num_row_groups} row groups")
        group = metadata.row_group(row_group)
        for number in range(metadata.num_columns):
            if metadata.schema.column(number).path == column:
                break
        else:
            raise ValueError(f"the file has no column {column}")
        schema, chunk = metadata.schema.column(number), group.column(number)
        if chunk.physical_type != "BYTE_ARRAY" or schema.max_repetition_level:
            raise ValueError(f"the column {column} does not hold one value of bytes per row")
        if chunk.compression not in _CODECS:
            raise ValueError(f"the codec {chunk.compression} of the column {column} is not read")
        if chunk.file_path:
            raise ValueError(f"the column {column} lies in another file")
        offsets = chunk.dictionary_page_offset, chunk.data_page_offset
        start = min(offset for offset in offsets if offset)
        levels, statistics = schema.max_definition_level, chunk.statistics
        known = statistics is not None and statistics.has_null_count
        return cls(
            start,
            start + chunk.total_compressed_size,
            _CODECS[chunk.compression],
            levels,
            group.num_rows,
            whole=not levels or (known and statistics.null_count == 0),
        )


@dataclass(frozen=True)
class Cells:
    """Values of consecutive rows.

    Attributes:
        first: number of the first row in its row group.
        data: what the spans refer to; None for the file.
        spans: a span for each row, None for a null.
    """

    first: int
    data: bytes | None
    spans: list[Span | None]


@dataclass(frozen=True)
class Pages:
    """The pages of a column chunk that hold rows, with the dictionary that their values may be in.

    Attributes:
        chunk: the column chunk.
        data: each page with values, and the number of its first row.
        dictionary: the page of the dictionary, if there is one.
    """

    chunk: ColumnChunk
    data: list[tuple[int, Page]]
    dictionary: Page | None = None

    @classmethod
    def of(cls, read: Read, chunk: ColumnChunk) -> Pages:
        """Reads the headers of all pages, and nothing else."""
        found, dictionary, row = [], None, 0
        for page in pages(read, chunk.start, chunk.end):
            if page.kind is PageKind.dictionary:
                dictionary = page
            elif page.kind is not PageKind.index:
                found.append((row, page))
                row += page.values
        if row != chunk.rows:
            raise ValueError(f"its pages hold {row:,} of {chunk.rows:,} rows")
        return cls(chunk, found, dictionary)

    def cells(self, read: Read, first: int, page: Page) -> Cells:
        """The values of a page whose first row is ``first``."""
        if page.encoding == PLAIN and self._is_stored(page):
            return Cells(first, None, self._spans_in_file(read, page))
        content, values_at, defined = self._opened(read, page)
        if page.encoding == PLAIN:
            return Cells(first, content, _spread(_plain(content, values_at, defined), defined))
        if page.encoding not in (PLAIN_DICTIONARY, RLE_DICTIONARY) or self.dictionary is None:
            raise ValueError(f"its encoding (number {page.encoding}) is not read; PLAIN is")
        numbers = _dictionary_numbers(content, values_at, int(defined.sum()))
        words = self._content(read, self.dictionary)
        every = _plain(words, 0, np.ones(self.dictionary.values, dtype=np.bool_))
        if len(numbers) and int(numbers.max()) >= len(every):
            raise ValueError("a value is not in the dictionary")
        return Cells(first, words, _spread([every[number] for number in numbers], defined))

    def in_file(self, page: Page) -> bool:
        """Whether the values of a page are ranges of the file."""
        return page.encoding == PLAIN and self._is_stored(page)

    def page_of(self, row: int) -> tuple[int, Page]:
        """The page that holds a row, with its first row."""
        for first, page in self.data:
            if first <= row < first + page.values:
                return first, page
        raise ValueError(f"the row group has {self.chunk.rows:,} rows")

    def _is_stored(self, page: Page) -> bool:
        return self.chunk.codec is None or not page.compressed

    def _spans_in_file(self, read: Read, page: Page) -> list[Span | None]:
        """Reads levels and lengths alone."""
        at, defined = self._levels(page, lambda offset, count: read(page.offset + offset, count))
        at += page.offset
        found: list[Span] = []
        for _ in range(int(defined.sum())):
            head = read(at, 4)
            if len(head) < 4:
                raise ValueError("a value lies beyond the end of the file")
            size = int.from_bytes(head, "little")
            if at + 4 + size > page.end:
                raise ValueError("a value reaches beyond its page")
            found.append((at + 4, size))
            at += 4 + size
        return _spread(found, defined)

    def _opened(self, read: Read, page: Page) -> tuple[bytes, int, npt.NDArray[np.bool_]]:
        """The content of a page, where its values begin, and which rows have one."""
        content = self._content(read, page)
        at, defined = self._levels(page, lambda offset, count: content[offset : offset + count])
        return content, at, defined

    def _levels(self, page: Page, read: Read) -> tuple[int, npt.NDArray[np.bool_]]:
        """Where the values of a page begin in its content, and which rows have one."""
        if page.kind is PageKind.data_v2:
            start, size = 0, page.levels_size
        elif self.chunk.levels:
            start, size = 4, int.from_bytes(read(0, 4), "little")
        else:
            start = size = 0
        if not self.chunk.levels:
            return start + size, np.ones(page.values, dtype=np.bool_)
        if start + size > page.raw_size:
            raise ValueError("the levels of a page are longer than the page")
        width = self.chunk.levels.bit_length()
        levels = _hybrid(read(start, size), 0, width, page.values)
        return start + size, levels == self.chunk.levels

    def _content(self, read: Read, page: Page) -> bytes:
        """The content of a page without compression."""
        if max(page.raw_size, page.size) > MOST_PAGE_BYTES:
            raise PageTooLargeError(page.raw_size)
        data = read(page.offset, page.size)
        if len(data) < page.size:
            raise ValueError("a page reaches beyond the end of the file")
        if self._is_stored(page):
            return data
        levels, packed = data[: page.levels_size], data[page.levels_size :]
        size = page.raw_size - page.levels_size
        import pyarrow as pa  # --help loads this module too

        try:
            raw: bytes = pa.Codec(self.chunk.codec).decompress(packed, size, asbytes=True)
        except (OSError, pa.ArrowException) as error:
            raise ValueError(f"a page cannot be decompressed: {error}") from None
        return raw if not levels else levels + raw


class PageTooLargeError(ValueError):
    """A page has more bytes than are decompressed."""

    def __init__(self, size: int) -> None:
        super().__init__(
            f"a page has {size:,} bytes; the limit is {MOST_PAGE_BYTES:,}; write the file with "
            f"smaller row groups, or the column without compression"
        )


def _plain(data: bytes, at: int, defined: npt.NDArray[np.bool_]) -> list[Span]:
    """Spans of the values of a PLAIN page from ``at`` on."""
    found: list[Span] = []
    for _ in range(int(defined.sum())):
        try:
            (size,) = struct.unpack_from("<I", data, at)
        except struct.error:
            raise ValueError("a value lies beyond its page") from None
        if at + 4 + size > len(data):
            raise ValueError("a value reaches beyond its page")
        found.append((at + 4, size))
        at += 4 + size
    return found


def _spread(found: list[Span], defined: npt.NDArray[np.bool_]) -> list[Span | None]:
    """A value for each row that has one, None for the others."""
    values: Iterator[Span] = iter(found)
    return [next(values) if has else None for has in defined]


def _dictionary_numbers(data: bytes, at: int, count: int) -> Ints:
    if not count:
        return np.zeros(0, dtype=np.int64)
    if at >= len(data) or data[at] > 32:
        raise ValueError("the numbers of a page are damaged")
    return _hybrid(data, at + 1, data[at], count)


def _hybrid(data: bytes, at: int, width: int, count: int) -> Ints:
    """``count`` numbers of ``width`` bits in Parquet's hybrid of runs and packed bits."""
    numbers = np.zeros(count, dtype=np.int64)
    weights = 1 << np.arange(width, dtype=np.int64)
    done, value_bytes = 0, -(-width // 8)
    while done < count:
        head = shift = 0
        while True:
            if at >= len(data) or shift > 31:
                raise ValueError("the numbers of a page are damaged")
            head |= (data[at] & 127) << shift
            shift += 7
            at += 1
            if data[at - 1] < 128:
                break
        if head & 1:
            size = (head >> 1) * width
            packed = np.frombuffer(data[at : at + size], dtype=np.uint8)
            bits = np.unpackbits(packed, bitorder="little")[: (count - done) * width]
            if width == 0:
                break
            some = bits[: len(bits) // width * width].reshape(-1, width) @ weights
            if not len(some):
                raise ValueError("the numbers of a page are damaged")
            numbers[done : done + len(some)] = some
            done += len(some)
        else:
            size = value_bytes
            run = min(head >> 1, count - done)
            if not run or len(data) < at + size:
                raise ValueError("the numbers of a page are damaged")
            numbers[done : done + run] = int.from_bytes(data[at : at + size], "little")
            done += run
        at += size
    return numbers
