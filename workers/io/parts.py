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
from workers.io.content import Content, Source


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


class RangeContent:
    """``size`` bytes of another content, from ``offset`` on."""

    def __init__(self, whole: Content, offset: int, size: int) -> None:
        self.size = size
        self._whole = whole
        self._offset = offset

    @property
    def received(self) -> int:
        """As in Content."""
        return self._whole.received

    @property
    def failure(self) -> UnitFailure | None:
        """As in Content."""
        return self._whole.failure

    @property
    def is_remote(self) -> bool:
        """As in Content."""
        return self._whole.is_remote

    def begin_unit(self) -> None:
        """As in Content."""
        self._whole.begin_unit()

    def read_at(self, offset: int, count: int) -> bytes:
        """As in Content."""
        return self._whole.read_at(self._offset + offset, max(0, min(count, self.size - offset)))


Part = ByteRange

_KINDS = {each.kind: each for each in (ByteRange,)}


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


def check_size(size: int, max_bytes: int) -> None:
    """Raises UnitFailure for a video without bytes, or with more than ``max_bytes``."""
    if size == 0:
        raise UnitFailure(ErrorType.empty, "the file has no bytes")
    if size > max_bytes:
        raise UnitFailure(
            ErrorType.too_large, f"{size:,} bytes are more than the limit of {max_bytes:,}"
        )
