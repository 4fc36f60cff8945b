"""An index of a file whose container has none, made in one pass over its packets.

Frame i of such a file is the i-th frame of a decode from the start. If the headers of every packet
show that it holds one frame, and decoding the first and last packets confirms it there, the
packets' timestamps identify the frames. Damage in between that shows neither in headers nor in the
container goes unnoticed, as in a file with an index.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from workers.decoding.demuxer import Demuxer
from workers.decoding.plan import REORDERED, Ints, PacketTable, frames_to_decode
from workers.decoding.planned import decodes_completely
from workers.decoding.start_time import first_frame


@dataclass(frozen=True)
class StreamIndex:
    """The packets of all frames, from the first frame's on.

    ``starts_file``: the first row is the file's first packet. ``undecodable``: frames before the
    first row, without their keyframe.
    """

    table: PacketTable
    starts_file: bool = False
    undecodable: int = 0


def find_index(demuxer: Demuxer, table: PacketTable) -> StreamIndex | None:
    """The index made from ``table``, all packets of the file; None where it may be wrong."""
    if not table.trustworthy() or table.checks is None:
        return None
    index = _begun(demuxer, table)
    if index is None:
        return None
    rows = np.arange(len(index.table.pts), dtype=np.int64)
    ends = np.concatenate([rows[:REORDERED], rows[REORDERED:][-REORDERED:]])
    ends = ends[index.table.shown[ends]]
    if not decodes_completely(demuxer, index.table, ends, starts_file=index.starts_file):
        return None
    return index


def _begun(demuxer: Demuxer, table: PacketTable) -> StreamIndex | None:
    """The table from the first frame on; None where decoding does not start at an entry."""
    if table.entry[0] and table.shown[0] and table.led():
        return StreamIndex(table, starts_file=True)
    origin = first_frame(demuxer, demuxer.afresh())
    if origin.tick is None:
        return None
    rows = np.flatnonzero(table.pts == origin.tick)
    if len(rows) != 1 or not table.entry[rows[0]] or (table.pts[: rows[0]] >= origin.tick).any():
        return None
    first = int(rows[0])
    return StreamIndex(table.since(first, origin.tick), not first, origin.undecodable)


def share_to_decode(table: PacketTable, frames: Ints) -> float:
    """The share of all packets that must be decoded for the frames of these packets."""
    return frames_to_decode(table.entry, table.pts, frames) / len(table.pts)
