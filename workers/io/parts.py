"""Videos that lie within a file: the parts of a `uri` that the manifest's column ``part`` names.

A part is text, such as ``bytes:1536+44032``: its kind, a colon, and where it lies. To add a kind,
write a class with ``parse`` and ``open`` (``open_at`` where ``uri`` is no file) and add it to
``_KINDS``. The kind ``refused`` stands for
what a listing found and no decoder may open, with the reason for its row.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import ClassVar

from workers.failures import ErrorType, UnitFailure
from workers.io.content import RangeContent, Source, check_size
from workers.io.gzip_part import GzipRange
from workers.io.lance_part import LanceCell
from workers.io.parquet_part import ParquetCell


@dataclass(frozen=True)
class ByteRange:
    """A video that is ``size`` bytes of a file, from ``offset`` on: ``bytes:OFFSET+SIZE``."""

    offset: int
    size: int

    kind: ClassVar[str] = "bytes"

    @classmethod
    def parse(cls, text: str) -> ByteRange:
        """From what follows the kind; raises ValueError."""
        found = re.fullmatch(r"(\d+)\+(\d+)", text)
        if found is None:
            raise ValueError("it is not OFFSET+SIZE")
        return cls(int(found[1]), int(found[2]))

    def __str__(self) -> str:
        return f"{self.kind}:{self.offset}+{self.size}"

    @contextmanager
    def open(self, whole: Source, *, max_bytes: int) -> Iterator[Source]:
        """The video in an opened file; raises UnitFailure."""
        check_size(self.size, max_bytes)
        self.check_within(whole.size)
        yield Source(RangeContent(whole.content, self.offset, self.size), whole.etag)

    def check_within(self, size: int) -> None:
        """Raises UnitFailure for a file of ``size`` bytes, if it ends before the video does."""
        if self.offset + self.size > size:
            raise UnitFailure(
                ErrorType.corrupt,
                f"the video ends at byte {self.offset + self.size:,} of a file of {size:,}",
            )


Part = ByteRange | GzipRange | ParquetCell | LanceCell

_KINDS: dict[str, type[Part]] = {
    each.kind: each for each in (ByteRange, GzipRange, ParquetCell, LanceCell)
}
_REFUSED = "refused"


def refused(error_type: ErrorType, message: str) -> str:
    """The part of a video that is not read: its unit fails with this reason."""
    return f"{_REFUSED}:{error_type}:{message}"


def refusal(part: str | None) -> UnitFailure | None:
    """Why a part is not read, as `refused` was told; None for any other part."""
    if part is None or not part.startswith(f"{_REFUSED}:"):
        return None
    _, error_type, message = part.split(":", 2)
    return UnitFailure(ErrorType(error_type), message)


def parse(text: str) -> Part:
    """The part that the column ``part`` names.

    Raises UnitFailure for another text, and with its reason for a part that is `refused`.
    """
    if (failure := refusal(text)) is not None:
        raise failure
    kind, _, where = text.partition(":")
    try:
        return _KINDS[kind].parse(where)
    except KeyError:
        reason = f"known kinds are {', '.join(_KINDS)}"
    except ValueError as error:
        reason = str(error)
    raise UnitFailure(ErrorType.internal, f"the part {text!r} of the manifest is wrong: {reason}")


def without_index(part: str | None) -> str | None:
    """The part as it is the same in every run: where an index of its file lies is left out."""
    if part is None or not part.startswith(f"{GzipRange.kind}:"):
        return part
    return part.partition("@")[0]


def start_of(part: str, count: int) -> str | None:
    """The part of the first ``count`` bytes of a part; None for one that is always read whole."""
    where = parse(part)
    if not isinstance(where, ByteRange | GzipRange):
        return None
    return str(replace(where, size=min(where.size, count)))
