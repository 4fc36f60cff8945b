"""A video that is a value of a Parquet column: ``parquet:ROW_GROUP/ROW/COLUMN``.

For columns that are compressed; a value of one that is not is a range of bytes of the file, and
the listing names it as such.
"""

from __future__ import annotations

import errno
import os
import re
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any, ClassVar

from workers.failures import ErrorType, UnitFailure
from workers.io.content import Content, FileContent, RangeContent, Source, check_size
from workers.io.parquet_cells import ColumnChunk, Pages, PageTooLargeError, Span

_LONGEST_FOOTER = 256 << 20

_last = threading.local()


@dataclass(frozen=True)
class ParquetCell:
    """A video that is the value of a row, counted within its row group, in a column."""

    row_group: int
    row: int
    column: str

    kind: ClassVar[str] = "parquet"

    @classmethod
    def parse(cls, text: str) -> ParquetCell:
        """From what follows the kind; raises ValueError."""
        found = re.fullmatch(r"(\d+)/(\d+)/(.+)", text)
        if found is None:
            raise ValueError("it is not ROW_GROUP/ROW/COLUMN")
        return cls(int(found[1]), int(found[2]), found[3])

    def __str__(self) -> str:
        return f"{self.kind}:{self.row_group}/{self.row}/{self.column}"

    @contextmanager
    def open(self, whole: Source, *, max_bytes: int) -> Iterator[Source]:
        """The video in an opened file; raises UnitFailure.

        The page that holds it stays for the next unit, which is mostly the next row.
        """
        key = _version(whole), self.row_group, self.column
        page = getattr(_last, "page", None)
        if page is None or page.key != key or not page.first <= self.row < page.stop:
            _last.page = None  # its bytes go before others come
            page = _last.page = self._read(whole, key)
        span = page.spans[self.row - page.first]
        if span is None:
            raise UnitFailure(ErrorType.empty, f"the row has no {self.column}")
        offset, size = span
        check_size(size, max_bytes)
        yield Source(_CellContent(page.content, offset, size, whole.content), whole.etag)

    def _read(self, whole: Source, key: tuple[object, ...]) -> _Page:
        import pyarrow as pa  # --help loads this module too

        try:
            return _page(whole, self, key)
        except PageTooLargeError as error:
            raise UnitFailure(ErrorType.too_large, str(error)) from None
        except (ValueError, OSError, EOFError, pa.ArrowException) as error:
            if whole.failure is not None:
                raise whole.failure from None
            if isinstance(error, OSError) and error.errno == errno.ENOSPC:
                folder = tempfile.gettempdir()
                reason = f"no space left in {folder} for a page; TMPDIR names another folder"
                raise UnitFailure(ErrorType.internal, reason) from None
            reason = f"row {self.row} of row group {self.row_group} cannot be read: {error}"
            raise UnitFailure(ErrorType.corrupt, reason) from None


@dataclass(frozen=True)
class _Page:
    """A page without compression, in a file of its own that has no name."""

    key: tuple[object, ...]
    first: int
    spans: list[Span | None]
    file: IO[bytes]

    @property
    def stop(self) -> int:
        return self.first + len(self.spans)

    @property
    def content(self) -> FileContent:
        return FileContent(self.file.fileno(), os.fstat(self.file.fileno()).st_size)


class _CellContent(RangeContent):
    """A value of a page; what was read of the storage is that of the file with the page."""

    def __init__(self, page: Content, offset: int, size: int, whole: Content) -> None:
        super().__init__(page, offset, size)
        self._file = whole

    @property
    def received(self) -> int:
        """As in Content."""
        return self._file.received

    @property
    def is_remote(self) -> bool:
        """As in Content."""
        return self._file.is_remote


def _page(whole: Source, cell: ParquetCell, key: tuple[object, ...]) -> _Page:
    chunk = ColumnChunk.of(_metadata(whole), cell.row_group, cell.column)
    found = Pages.of(whole.read_at, chunk)
    first, place = found.page_of(cell.row)
    cells = found.cells(whole.read_at, first, place)
    data, spans = cells.data, cells.spans
    if data is None:
        data = whole.read_at(place.offset, place.size)
        spans = [span and (span[0] - place.offset, span[1]) for span in spans]
    file = tempfile.TemporaryFile()  # noqa: SIM115 - it stays for the next unit
    file.write(data)
    file.flush()
    return _Page(key, cells.first, spans, file)


def _metadata(whole: Source) -> Any:
    """pyarrow's FileMetaData, from the end of the file alone."""
    import pyarrow as pa  # which most decoders never need
    import pyarrow.parquet as pq

    size = int.from_bytes(whole.read_at(whole.size - 8, 4), "little")
    if size > min(_LONGEST_FOOTER, whole.size):
        raise ValueError(f"its footer has {size:,} bytes")
    footer = whole.read_at(whole.size - 8 - size, size + 8)
    return pq.read_metadata(pa.BufferReader(b"PAR1" + footer))


def _version(whole: Source) -> tuple[object, ...]:
    """What tells one version of a file or object from another."""
    if isinstance(whole.content, FileContent):
        status = os.fstat(whole.content.descriptor)
        return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size
    return whole.etag, whole.size, None if whole.etag else object()
