"""One row of a list of videos, and what cannot be read as one."""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

from sta.text import displayed

# A byte that is not UTF-8, as the error handler `surrogateescape` decodes it.
_NOT_UTF_8 = re.compile("[\udc80-\udcff]")
_SHOWN = 120


class NotAListError(ValueError):
    """A file cannot be read as a list of videos; the message describes its content."""


class Row(NamedTuple):
    """A row, or what is wrong with it.

    Attributes:
        place: where it stands in its file ("line 3", "row 3", "object 3").
        cells: its cells by the names of `list_columns`.
        line: what stands there, for messages: a line of text, or an object.
        problem: why it cannot be read; "" if it can.
    """

    place: str
    cells: dict[str, Any]
    line: Any = ""
    problem: str = ""


def bad_row(place: str, line: Any, problem: str) -> Row:
    """A row that cannot be read."""
    return Row(place, {}, line, problem)


def why_not_utf8(line: str) -> str:
    """Why a line that was decoded with `surrogateescape` cannot be read; "" if it is UTF-8."""
    found = None if line.isascii() else _NOT_UTF_8.search(line)
    if found is None:
        return ""
    return f"it is not UTF-8 (byte {ord(found[0]) - 0xDC00:#04x}); write the list as UTF-8"


def shown(line: Any) -> str:
    """A line, or an object as JSON, for a message: shortened, without keys and signatures, bytes
    that are no text as escapes.
    """
    text = line if isinstance(line, str) else json.dumps(line, default=str, ensure_ascii=False)
    text = _NOT_UTF_8.sub(lambda found: f"\\x{ord(found[0]) - 0xDC00:02x}", " ".join(text.split()))
    return f"'{displayed(text, longest=_SHOWN)}'"
