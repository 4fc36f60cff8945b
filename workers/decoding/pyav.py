"""Decoding with PyAV: no more frames than needed, and never another frame than the one asked for.

Truth is what a sequential decode of the whole stream gives, frame by frame. Where timestamps name
every frame, by the container's own index (mp4, mov, Matroska, WebM) or by one that a pass over its
packets finds, and the bitstream says of every packet that it holds one frame or none, only what the
wanted frames need is decoded, and each is recognized by its timestamp. If anything is missing,
damaged or in doubt, the video is decoded from start to end and its frames are counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import av.error
import numpy as np

from workers.decoding.container import nothing_decoded
from workers.decoding.damage import Damage
from workers.decoding.demuxer import Reading
from workers.decoding.endings import ending
from workers.decoding.frames import Allocate, FrameStore, Painter
from workers.decoding.packets import read_table
from workers.decoding.plan import Floats, PacketTable, Selection, length_s, seconds, select
from workers.decoding.planned import place_frames
from workers.decoding.progress import Progress
from workers.decoding.result import Decoded
from workers.decoding.sequential import with_flush
from workers.decoding.stream_index import StreamIndex, find_index, share_to_decode
from workers.decoding.types import DecodeLimits, Unit
from workers.failures import ErrorType, UnitFailure
from workers.io.fetching import Source
from workers.sampling import Protocol

_INDEXED_FORMATS = {"mov", "mp4", "matroska", "webm"}
_WORTH_PLANNING = 0.5


@dataclass(frozen=True)
class _Job:
    source: Source
    unit: Unit
    protocol: Protocol
    limits: DecodeLimits
    allocate: Allocate

    def store(self, selection: Selection) -> FrameStore:
        return FrameStore(
            len(selection.wanted),
            self.protocol,
            self.allocate,
            output_bytes=self.limits.output_bytes,
        )

    def damage(self, reading: Reading, table: PacketTable, *, unled: int = 0) -> Damage:
        """What is missing at both ends of the file, before anything is decoded."""
        end = ending(self.source, reading.stream, frame_s=table.frame_s)
        return Damage(table.cut, end, unled=unled)


def decode(
    source: Source,
    unit: Unit,
    protocol: Protocol,
    limits: DecodeLimits,
    allocate: Allocate,
    *,
    progress: Progress | None = None,
) -> Decoded:
    """Decode the frames that ``protocol`` takes from ``unit``; raises UnitFailure."""
    job = _Job(source, unit, protocol, limits, allocate)
    with Reading(source, max_pixels=limits.max_pixels, progress=progress) as reading:
        index = None
        if is_indexed(reading):
            table = read_table(reading.whole(), reading.stream, size=source.size)
            if table.trustworthy() and table.led():
                index = StreamIndex(table)
        else:
            table = read_table(reading.whole(), reading.stream, size=source.size, unindexed=True)
            if _saves_much(job, table):
                index = find_index(reading, table)
        planned = None if index is None else _decode_planned(job, reading, index)
        return _decode_sequentially(job, reading, table) if planned is None else planned


def is_indexed(reading: Reading) -> bool:
    """Whether the container's own timestamps name every frame, and a seek leads to each."""
    return not _INDEXED_FORMATS.isdisjoint(reading.container.format.name.split(","))


def _saves_much(job: _Job, table: PacketTable) -> bool:
    """Whether decoding only what is needed is worth the look at both ends that comes before it."""
    if not table.trustworthy():
        return False
    wanted = select(table.times(), job.unit, job.protocol).wanted
    return share_to_decode(table, table.order()[wanted]) < _WORTH_PLANNING


def _decode_planned(job: _Job, reading: Reading, index: StreamIndex) -> Decoded | None:
    """Decode what the wanted frames need; None where the result is not beyond doubt."""
    table = index.table
    times, order = table.times(), table.order()
    selection = select(times, job.unit, job.protocol)
    store, packets = job.store(selection), order[selection.wanted]
    if not place_frames(reading, table, packets, store, starts_file=index.starts_file):
        return None
    damage = job.damage(reading, table, unled=index.unled)
    duration_s = length_s(times, float(table.duration[order[-1]]) * table.tick_s, table.frame_s)
    return Decoded.of(selection, store.shape, times, duration_s, damage.lost(len(times)))


@dataclass
class _Pass:
    """One sequential decode: the time of every frame that came, and the damage on the way."""

    times: Floats
    duration_s: float
    damage: Damage


def _decode_sequentially(job: _Job, reading: Reading, table: PacketTable) -> Decoded:
    """Decode everything from the start, counting; again where the count was guessed wrong."""
    expected = table.times()
    for _ in range(3):
        selection = select(expected, job.unit, job.protocol) if len(expected) else None
        store = job.store(selection) if selection is not None else None
        wanted = selection.wanted.tolist() if selection is not None else []
        reading.expect(len(table.pts))
        done = _decode_all(job, reading, table, store, {i: row for row, i in enumerate(wanted)})
        lost = done.damage.lost(len(done.times))
        actual = select(done.times, job.unit, job.protocol)
        right = selection is not None and np.array_equal(actual.clips, selection.clips)
        if store is not None and right and store.complete:
            return Decoded.of(actual, store.shape, done.times, done.duration_s, lost)
        expected = done.times
    raise UnitFailure(ErrorType.corrupt, "every decode of this file gives another number of frames")


def _decode_all(
    job: _Job,
    reading: Reading,
    table: PacketTable,
    store: FrameStore | None,
    row_of: Mapping[int, int],
) -> _Pass:
    painter, damage = Painter(), job.damage(reading, table)
    ticks: list[int | None] = []
    last = 0
    for packet in with_flush(reading.afresh()):
        try:
            frames = reading.stream.decode(packet)
        except MemoryError:
            raise
        except av.error.FFmpegError:
            damage.refused += 1
            continue
        for frame in frames:
            damage.patched += frame.is_corrupt
            if store is not None and len(ticks) in row_of:
                store.place(row_of[len(ticks)], painter.rgb(frame))
            ticks.append(frame.pts)
            last = frame.duration or 0
    if not ticks:
        raise nothing_decoded(job.source, reading.stream, packets=len(table.pts))
    before_keyframe = int(np.argmax(table.keyframe)) if table.keyframe.any() else 0
    damage.unled = max(0, min(before_keyframe, int(table.shown.sum()) - len(ticks)))
    damage.unled = max(0, damage.unled - damage.refused)
    times = _frame_times(ticks, table)
    return _Pass(times, length_s(times, last * table.tick_s, table.frame_s), damage)


def _frame_times(ticks: list[int | None], table: PacketTable) -> Floats:
    """Seconds since the first frame; from the frame rate where timestamps lack or go back."""
    ranks = table.ranked(len(ticks))
    if ranks is not None:
        return seconds(ranks, table.tick_s, table.frame_s)
    if None in ticks:
        return np.arange(len(ticks), dtype=np.float64) * table.frame_s
    return seconds(np.array(ticks, dtype=np.int64), table.tick_s, table.frame_s)
