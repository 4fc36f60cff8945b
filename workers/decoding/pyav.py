"""Decoding with PyAV: no more frames than needed, and never another frame than the one asked for.

Truth is what a sequential decode of the whole stream gives, frame by frame. Where a container's
timestamps name every frame (mp4, mov, Matroska, WebM), only what the wanted frames need is decoded,
and each is recognised by its timestamp; if anything is missing or damaged, and for all other
containers, the video is decoded from start to end and its frames are counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import av.error
import numpy as np
from av.video.frame import VideoFrame

from workers.decoding.damage import Damage
from workers.decoding.decoded import Decoded
from workers.decoding.frames import Allocate, FrameStore, Painter
from workers.decoding.opening import cut_share, nothing_decoded
from workers.decoding.packets import may_stay_undecoded, read_table
from workers.decoding.plan import (
    Floats,
    Ints,
    PacketTable,
    Selection,
    decoding_runs,
    length_s,
    select,
)
from workers.decoding.reading import LostPlace, Reading
from workers.decoding.runs import with_flush
from workers.decoding.units import DecodeLimits, Unit
from workers.failures import ErrorType, UnitFailure
from workers.fetching import Source
from workers.sampling import Protocol

_INDEXED_FORMATS = {"mov", "mp4", "matroska", "webm"}


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


def decode(
    source: Source, unit: Unit, protocol: Protocol, limits: DecodeLimits, allocate: Allocate
) -> Decoded:
    """Decode the frames that ``protocol`` takes from ``unit``; raises UnitFailure."""
    job = _Job(source, unit, protocol, limits, allocate)
    with Reading(source, max_pixels=limits.max_pixels) as reading:
        table = read_table(reading.whole(), reading.stream, size=source.size)
        indexed = not _INDEXED_FORMATS.isdisjoint(reading.container.format.name.split(","))
        if indexed and table.trustworthy():
            planned = _decode_planned(job, reading, table)
            if planned is not None:
                return planned
        return _decode_sequentially(job, reading, table)


def _decode_planned(job: _Job, reading: Reading, table: PacketTable) -> Decoded | None:
    """Decode what the wanted frames need; None where the result is not beyond doubt."""
    times, order = table.times(), table.order()
    selection = select(times, job.unit, job.protocol)
    store = job.store(selection)
    if not place_frames(reading, table, order[selection.wanted], store):
        return None
    damage = Damage(cut=table.cut, share=cut_share(job.source))
    duration_s = length_s(times, float(table.duration[order[-1]]) * table.tick_s, table.frame_s)
    return Decoded.of(selection, store.shape, times, duration_s, damage.lost(len(times)))


def place_frames(
    reading: Reading,
    table: PacketTable,
    wanted: Ints,
    store: FrameStore,
    *,
    starts_file: bool = False,
) -> bool:
    """Decode the frames of the packets ``wanted`` into the store's places 0, 1, 2 and so on.

    No more is decoded than they need. False where one of them did not come, or where anything on
    the way was not as the table says. ``starts_file``: row 0 is the file's first packet.
    """
    row_of = {int(table.pts[packet]): row for row, packet in enumerate(wanted)}
    painter = Painter()
    try:
        for run in decoding_runs(table.entry, table.pts, wanted):
            due: set[int] = set()
            for frame in _run_frames(reading, table, run, row_of, due, starts_file):
                if frame.is_corrupt or frame.pts is None:
                    return False
                due.discard(frame.pts)
                if frame.pts in row_of:
                    store.place(row_of[frame.pts], painter.rgb(frame))
            if due:
                return False
    except MemoryError:
        raise
    except (av.error.FFmpegError, LostPlace):
        return False
    return store.complete


def _run_frames(
    reading: Reading,
    table: PacketTable,
    run: tuple[int, int],
    wanted: Mapping[int, int],
    due: set[int],
    starts_file: bool,
) -> Iterator[VideoFrame]:
    """Frames of the packets [first, last]; ``due`` gathers the timestamps that must come out.

    Comparing what went in with what came out finds the packets that give no frame, for which a
    frame's number and its timestamp's rank would differ.
    """
    first, last = run
    unneeded = may_stay_undecoded(reading.stream)
    for index, packet in reading.along(table, first, from_start=starts_file):
        pts = int(table.pts[index])
        if pts in wanted or not unneeded(packet):
            if table.shown[index] and pts >= table.pts[first]:
                due.add(pts)
            yield from reading.stream.decode(packet)
        if index == last:
            break
    yield from reading.stream.decode(None)


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
    painter, damage = Painter(), Damage(cut=table.cut, share=cut_share(job.source))
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
    if None not in ticks:
        steps = np.array(ticks, dtype=np.int64)
        if (np.diff(steps) > 0).all():
            return np.asarray((steps - steps[0]) * table.tick_s, dtype=np.float64)
    return np.arange(len(ticks), dtype=np.float64) * table.frame_s
