"""The index of a file whose container has none, from one pass over its packets.

Frame i of such a file is the i-th frame of a decode from the start. Where every packet shows by its
headers that it is one frame, and the first and last packets also give theirs when they are decoded,
the packets' timestamps tell which frame lies where. What may have been damaged in between without a
sign in headers or the container stays unseen, as in a file with an index.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from workers.decoding.demuxer import Reading
from workers.decoding.plan import REORDERED, Ints, PacketTable, decoding_runs
from workers.decoding.planned import comes_whole
from workers.decoding.start_time import first_frame


@dataclass(frozen=True)
class StreamIndex:
    """The packets of all frames, from the first frame's on.

    ``starts_file``: the first row is the file's first packet. ``unled``: frames before the first
    one that lack their keyframe.
    """

    table: PacketTable
    starts_file: bool = False
    unled: int = 0


def find_index(reading: Reading, table: PacketTable) -> StreamIndex | None:
    """The index that ``table`` comes to, all packets of an unindexed file; None where in doubt."""
    if not table.trustworthy() or table.checks is None:
        return None
    index = _begun(reading, table)
    if index is None:
        return None
    rows = np.arange(len(index.table.pts), dtype=np.int64)
    ends = np.concatenate([rows[:REORDERED], rows[REORDERED:][-REORDERED:]])
    ends = ends[index.table.shown[ends]]
    if not comes_whole(reading, index.table, ends, starts_file=index.starts_file):
        return None
    return index


def _begun(reading: Reading, table: PacketTable) -> StreamIndex | None:
    """The table from the first frame on; None where decoding does not begin with an entry."""
    if table.entry[0] and table.shown[0] and table.led():
        return StreamIndex(table, starts_file=True)
    origin = first_frame(reading, reading.afresh())
    if origin.tick is None:
        return None
    rows = np.flatnonzero(table.pts == origin.tick)
    if len(rows) != 1 or not table.entry[rows[0]] or (table.pts[: rows[0]] >= origin.tick).any():
        return None
    first = int(rows[0])
    return StreamIndex(table.since(first, origin.tick), not first, origin.unled)


def share_to_decode(table: PacketTable, frames: Ints) -> float:
    """The share of all packets that decoding these packets' frames would go through."""
    runs = decoding_runs(table.entry, table.pts, frames)
    return sum(last + 1 - first for first, last in runs) / len(table.pts)
