"""A video that is a value of a Lance table: ``lance:VERSION/ROW/COLUMN``. Needs the package lance.

Lance reads by itself, from its own object store and without a limit of time.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from sta.transport.aws import library_options
from workers.failures import ErrorType, UnitFailure, one_line
from workers.io.content import BytesContent, Source, check_size

if TYPE_CHECKING:
    import pyarrow as pa

NEEDED = "reading a Lance table needs the package lance: pip install '.[lance]'"

_last = threading.local()


@dataclass(frozen=True)
class LanceCell:
    """A video that is the value of a row in a column of one version of a table."""

    version: int
    row: int
    column: str

    kind: ClassVar[str] = "lance"

    @classmethod
    def parse(cls, text: str) -> LanceCell:
        """From what follows the kind; raises ValueError."""
        found = re.fullmatch(r"(\d+)/(\d+)/(.+)", text)
        if found is None:
            raise ValueError("it is not VERSION/ROW/COLUMN")
        return cls(int(found[1]), int(found[2]), found[3])

    def __str__(self) -> str:
        return f"{self.kind}:{self.version}/{self.row}/{self.column}"

    @contextmanager
    def open_at(self, uri: str, *, max_bytes: int) -> Iterator[Source]:
        """The video in the table ``uri``; raises UnitFailure."""
        data = self._read(uri)
        if data is None:
            raise UnitFailure(ErrorType.empty, f"the row has no {self.column}")
        check_size(len(data), max_bytes)
        yield Source(BytesContent(data), fetched=len(data))

    def _read(self, uri: str) -> bytes | None:
        try:
            table = lance_table(uri, self.version)
            if self.column not in table.schema.names:
                raise UnitFailure(ErrorType.corrupt, f"the table has no column {self.column}")
            if is_blob(table.schema.field(self.column)):
                (blob,) = table.take_blobs(self.column, indices=[self.row])
                return None if blob is None else bytes(blob.read())
            found = table.take([self.row], columns=[self.column])[self.column]
        except (OSError, ValueError) as error:
            _last.key = None  # its credentials may have expired
            raise _failure(error) from None
        data = found[0].as_py() if len(found) == 1 else None
        return None if data is None else bytes(data)


def is_blob(field: pa.Field) -> bool:
    """Whether a column holds large bytes that Lance stores outside of its pages."""
    return getattr(field.type, "extension_name", "").startswith("lance.blob")


def lance_table(uri: str, version: int | None = None) -> Any:
    """A lance.LanceDataset; the last one of this thread stays open.

    Raises UnitFailure where lance is not installed, OSError or ValueError where there is no table.
    """
    key = uri, version
    if version is None or getattr(_last, "key", None) != key:
        try:
            import lance
        except ImportError:
            raise UnitFailure(ErrorType.internal, NEEDED) from None
        _last.table, _last.key = None, None
        _last.table = lance.dataset(uri, version, storage_options=library_options(uri))
        _last.key = key
    return _last.table


def _failure(error: Exception) -> UnitFailure:
    """What Lance's message says, without the addresses and lines of its source that it holds."""
    words = str(error)
    if "not found" in words.lower():
        return UnitFailure(ErrorType.not_found, "there is no such Lance table, version or file")
    if "non-existent fragment" in words:
        return UnitFailure(ErrorType.corrupt, "the Lance table has no such row")
    kind = one_line(words.partition(":")[0].partition(",")[0], limit=80)
    return UnitFailure(ErrorType.unavailable, f"the Lance table could not be read: {kind}")
