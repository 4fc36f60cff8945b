"""Numbers and names for people."""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from sta.text import displayed, printable

UNKNOWN = "not known"

_ONE = {
    **{"videos": "video", "segments": "segment", "clips": "clip", "views": "view"},
    **{"groups": "group", "pairs": "pair", "units": "unit", "rounds": "round"},
    **{"cores": "core", "threads": "thread", "decoders": "decoder", "labelers": "labeler"},
}

_MAY_BE_ESCAPED = re.compile(r"[^\n -~]")

_UNSAFE = re.compile(r"[^\w.-]+")
_LONGEST_STEM = 120

# What stands for the beginning of a name that is too long.
_CUT = "..."


def digits(value: float, significant: int = 3) -> str:
    """A number of so many digits, never in powers of ten: `0.000123`, `12.3`, `1,235`."""
    if abs(value) >= 10**significant or value == 0:
        return f"{value:,.0f}"
    text = np.format_float_positional(
        value, precision=significant, fractional=False, unique=False, trim="-"
    )
    return str(text)


def short(value: float) -> str:
    """A number of three digits at most, in thousands, millions and so on: `0.12`, `1.5`, `102k`."""
    for suffix in ("", "k", "M"):
        text = digits(value, 2 if value < 10 else 3)
        if float(text.replace(",", "")) < 1000:
            return f"{text}{suffix}"
        value /= 1000
    return f"{digits(value, 2 if value < 10 else 3)}G"


def byte_size(count: float) -> str:
    """Such as `1.25 GB`; powers of ten."""
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{digits(count / size)} {unit}"
    return f"{count:.0f} B"


def duration(seconds: float) -> str:
    """Such as `41 ms`, `7.3 s`, `12 min 5 s`, `3 h 20 min` or `2 d 4 h`."""
    if seconds < 1:
        return f"{digits(1000 * seconds)} ms"
    if seconds < 60:
        return f"{digits(seconds)} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    minutes = round(seconds / 60)
    if minutes < 24 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    hours = round(seconds / 3600)
    return f"{hours // 24} d {hours % 24} h"


def clock(seconds: float) -> str:
    """Seconds as [H:]MM:SS."""
    whole = round(seconds)
    hours, rest = divmod(whole, 3600)
    minutes, rest = divmod(rest, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def seconds(value: float) -> str:
    """A time that is not read off a clock, such as `1,234 s`."""
    return f"{digits(value)} s"


def hours(value: float) -> str:
    """Hours, or minutes where these are few."""
    return f"{digits(value)} h" if abs(value) >= 1 else f"{digits(60 * value)} min"


def moment(text: str | None) -> str | None:
    """A time in ISO format for people, such as `2026-11-26 09:16:26 UTC`; else the text itself."""
    try:
        time = datetime.datetime.fromisoformat(text or "")
    except ValueError:
        return text
    return f"{time.astimezone(datetime.UTC):%Y-%m-%d %H:%M:%S} UTC"


def money(value: float | None, currency: str) -> str:
    """An amount, such as `12.34 USD`."""
    if value is None:
        return UNKNOWN
    return f"{value:,.2f} {currency}" if abs(value) >= 10 else f"{digits(value)} {currency}"


def percent(part: float, whole: float) -> str:
    """A share, such as `49.1 %`."""
    return f"{100 * part / whole:.1f} %" if whole else UNKNOWN


def quantity(value: float, unit: str = "") -> str:
    """A number of three digits with a metric prefix: `quantity(1.5e12, "FLOPs")` is
    `1.5 TFLOPs`.
    """
    for prefix, size in (("E", 1e18), ("P", 1e15), ("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(value) >= size:
            return f"{digits(value / size)} {prefix}{unit}"
    return f"{digits(value)} {unit}".rstrip()


def counted(count: int, things: str) -> str:
    """Such as `1 video` or `1,200 segments`."""
    return f"{count:,} {_ONE[things] if count == 1 else things}"


def json_text(content: Any, *, indent: int = 2, allow_nan: bool = False) -> str:
    """JSON for a file. What a terminal does not print is escaped, so that a file with names of
    others can be shown on a screen, and is read as the same content.

    Raises:
        ValueError: a number is NaN or infinite, which JSON does not have, unless `allow_nan`.
    """
    text = json.dumps(content, indent=indent, ensure_ascii=False, allow_nan=allow_nan)
    return _MAY_BE_ESCAPED.sub(_json_escape, text) + "\n"


def _json_escape(found: re.Match[str]) -> str:
    letter = found[0]
    return letter if printable(letter) == letter else json.dumps(letter)[1:-1]


def text_table(rows: Sequence[Sequence[str]], *, left: Sequence[int] = (0,)) -> list[str]:
    """Lines of a table for a terminal, two spaces between its columns.

    Args:
        rows: as many cells each.
        left: numbers of the columns that are aligned to the left; the others to the right.
    """
    rows = [[displayed(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if number in left else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def short_names(names: Sequence[str], width: int) -> list[str]:
    """Names of at most `width` characters, of which the end stays: it tells files apart.

    Where two different names would look the same, all are given as much more as it takes.
    """
    shown = [displayed(name) for name in names]
    longest = max(map(len, shown), default=0)
    while True:
        cut = [_end(name, width) for name in shown]
        if width >= longest or len(set(cut)) == len(set(shown)):
            return cut
        width += 1


def _end(name: str, width: int) -> str:
    return name if len(name) <= width else _CUT + name[len(name) - width + len(_CUT) :]


def file_stem(name: str) -> str:
    """A name that others gave as the stem of a file; of a long one its end."""
    return _UNSAFE.sub("-", name)[-_LONGEST_STEM:].strip("-.") or "video"
