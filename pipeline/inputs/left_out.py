"""What a listing leaves out: the reasons that are named, and their text for messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sta.text import displayed

UNREADABLE = "folders and links that cannot be read"
LINKS_OUT = "links that lead out of INPUT"
LINKS_TWICE = "links to what is listed already"
LINK_LOOPS = "links that lead to themselves"
SPECIAL = "pipes, sockets and devices"
SECRET_NAMES = "names with a key or signature"
BAD_ROWS = "rows that cannot be read"
SECRET_ROWS = "rows with a key or signature"
MORE_SEGMENTS = "further segments of videos that are labeled whole"
WITHOUT_FILE = "rows without a file below --video-root"
_ONE = {
    UNREADABLE: "folder or link that cannot be read",
    LINKS_OUT: "link that leads out of INPUT",
    LINKS_TWICE: "link to what is listed already",
    LINK_LOOPS: "link that leads to itself",
    SPECIAL: "pipe, socket or device",
    SECRET_NAMES: "name with a key or signature",
    BAD_ROWS: "row that cannot be read",
    SECRET_ROWS: "row with a key or signature",
    WITHOUT_FILE: "row without a file below --video-root",
}
OF_ROWS = (BAD_ROWS, SECRET_ROWS, WITHOUT_FILE)
NAMED = tuple(_ONE)
"""Reasons to leave out what may be a video, so that users want to know which files it concerns."""

OTHER_KINDS = "of other kinds"
"""Files beyond the kinds that are counted: names can be made so that each is of another kind."""

MAX_KINDS = 100
NAMES_PER_REASON = 3
LONGEST_NAME = 200


def shortened(name: str) -> str:
    """A name as run.json and messages hold it: displayed, of a long one the end."""
    text = displayed(name)
    return text if len(text) <= LONGEST_NAME else f"...{text[-LONGEST_NAME:]}"


def left_out_text(
    skipped: Mapping[str, int], names: Mapping[str, Sequence[str]], *, most: int, rows: int = 0
) -> str:
    """Such as `2 links that lead out of INPUT (a.mp4, b.mp4), 3 .txt`.

    Args:
        skipped: counts by reason.
        names: a few names by reason, for the reasons in NAMED.
        most: so many reasons at most, those with names first, then the most frequent.
        rows: of a list, all rows that were read.
    """
    ranked = sorted(skipped, key=lambda reason: (reason not in names, -skipped[reason], reason))
    parts = [
        _part(skipped[reason], reason, names.get(reason, ()), rows if reason in OF_ROWS else 0)
        for reason in ranked[:most]
    ]
    rest = sum(skipped[reason] for reason in ranked[most:])
    if rest:
        parts.append(f"{rest:,} others")
    text = ", ".join(parts)
    return f"{text}; --follow-links follows links" if LINKS_OUT in skipped else text


def _part(count: int, reason: str, names: Sequence[str], rows: int) -> str:
    if not names:
        return f"{count:,} {displayed(reason)}"
    more = ", ..." if count > len(names) else ""
    if rows:
        return f"{count:,} of {rows:,} {reason} ({', '.join(names)}{more})"
    return f"{count:,} {_ONE[reason] if count == 1 else reason} ({', '.join(names)}{more})"
