"""Names for a line of a screen: shortened at the front, and never two alike that differ."""

from __future__ import annotations

from collections.abc import Sequence

_CUT = "..."


def printable(name: str) -> str:
    """The name with what a terminal does not print, such as a line break, as an escape."""
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in name
    )


def short_names(names: Sequence[str], width: int) -> list[str]:
    """Names of at most `width` characters, of which the end stays: it tells files apart.

    Where two different names would look the same, all are given as much more as it takes.
    """
    shown = [printable(name) for name in names]
    longest = max(map(len, shown), default=0)
    while True:
        cut = [_end(name, width) for name in shown]
        if width >= longest or len(set(cut)) == len(set(shown)):
            return cut
        width += 1


def _end(name: str, width: int) -> str:
    return name if len(name) <= width else _CUT + name[len(name) - width + len(_CUT) :]
