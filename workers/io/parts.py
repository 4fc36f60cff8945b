"""Videos that lie within a file: the parts of a `uri` that the manifest's column ``part`` names.

A part is text, such as ``bytes:1536+44032``: its kind, a colon, and where it lies. To add a kind,
write a class with ``parse`` and ``open`` and add it to ``_KINDS``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

from workers.failures import ErrorType, UnitFailure
from workers.io.content import RangeContent, Source, check_size
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
        if self.offset + self.size > whole.size:
            raise UnitFailure(
                ErrorType.corrupt,
                f"the video ends at byte {self.offset + self.size:,} of a file of {whole.size:,}",
            )
        yield Source(RangeContent(whole.content, self.offset, self.size), whole.etag)


Part = ByteRange | ParquetCell

_KINDS: dict[str, type[Part]] = {each.kind: each for each in (ByteRange, ParquetCell)}


def parse(text: str) -> Part:
    """The part that the column ``part`` names; raises UnitFailure for another text."""
    kind, _, where = text.partition(":")
    try:
        return _KINDS[kind].parse(where)
    except KeyError:
        reason = f"known kinds are {', '.join(_KINDS)}"
    except ValueError as error:
        reason = str(error)
    raise UnitFailure(ErrorType.internal, f"the part {text!r} of the manifest is wrong: {reason}")
