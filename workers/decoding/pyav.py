"""Decoding with PyAV: no more frames than needed, and never another frame than the one asked for.

Truth is what a sequential decode of the whole stream gives, frame by frame. Where a container's
timestamps name every frame (mp4, mov, Matroska, WebM), only what the wanted frames need is decoded,
and each is recognised by its timestamp; if anything is missing or damaged, and for all other
containers, the video is decoded from start to end and its frames are counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import av.error
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from workers.decoding import nal
from workers.decoding.damage import Damage
from workers.decoding.frames import Allocate, FrameStore, Pixels
from workers.decoding.opening import cut_share, nothing_decoded, opened_video
from workers.decoding.plan import (
    NO_TIME,
    Floats,
    PacketTable,
    Selection,
    clip_times,
    decoding_runs,
    length_s,
    select,
)
from workers.decoding.units import DecodeLimits, Unit
from workers.failures import ErrorType, UnitFailure
from workers.fetching import Source
from workers.sampling import Protocol

_INDEXED_FORMATS = {"mov", "mp4", "matroska", "webm"}
_RESTARTABLE = {"vp8", "vp9", "av1", "libdav1d", "libaom-av1", "mpeg4", "mjpeg"}
_DEMUX_ERRORS = 100
_RATE = 25.0


@dataclass(frozen=True)
class Decoded:
    """What was decoded, without the pixels; see DecodedUnit for the meanings."""

    selection: Selection
    shape: tuple[int, int, int, int]
    times: Floats
    duration_s: float
    lost_frames: int

    def report(self) -> dict[str, Any]:
        """As plain lists and numbers, for the parent."""
        return {
            "shape": self.shape,
            "clip_frames": self.selection.rows.tolist(),
            "clip_times": clip_times(self.times, self.selection.clips).tolist(),
            "frame_count": len(self.times),
            "duration_s": self.duration_s,
            "lost_frames": self.lost_frames,
            "first_clip": 0,
        }


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
    with opened_video(source, max_pixels=limits.max_pixels) as (container, stream):
        table = _read_table(container, stream, source)
        indexed = not _INDEXED_FORMATS.isdisjoint(container.format.name.split(","))
        if indexed and table.trustworthy():
            planned = _decode_planned(job, container, stream, table)
            if planned is not None:
                return planned
    return _decode_sequentially(job, table)


def _read_table(container: InputContainer, stream: VideoStream, source: Source) -> PacketTable:
    """Demux the whole stream without decoding."""
    codec = stream.codec_context.name
    prefix = nal.length_size(codec, stream.codec_context.extradata)
    rows: list[tuple[int, int, int, bool, bool, bool, bool]] = []
    broken = 0
    for packet in _packets(container, stream):
        if packet is None or packet.is_corrupt:
            broken += 1
        if packet is None:
            continue
        entry, unreferenced = packet.is_keyframe and codec in _RESTARTABLE, False
        if prefix is not None:
            data = memoryview(packet)
            entry = packet.is_keyframe and nal.is_entry(codec, data, prefix)
            unreferenced = nal.is_unreferenced(codec, data, prefix)
        rows.append(
            (
                NO_TIME if packet.pts is None else packet.pts,
                NO_TIME if packet.dts is None else packet.dts,
                packet.duration or 0,
                not packet.is_discard,
                entry,
                unreferenced,
                packet.is_keyframe,
            )
        )
    columns: list[Any] = list(zip(*rows, strict=True)) or [()] * 7
    rate = stream.average_rate or stream.guessed_rate
    return PacketTable(
        pts=np.array(columns[0], dtype=np.int64),
        dts=np.array(columns[1], dtype=np.int64),
        duration=np.array(columns[2], dtype=np.int64),
        shown=np.array(columns[3], dtype=np.bool_),
        entry=np.array(columns[4], dtype=np.bool_),
        unreferenced=np.array(columns[5], dtype=np.bool_),
        keyframe=np.array(columns[6], dtype=np.bool_),
        tick_s=float(stream.time_base or 0),
        frame_s=1 / float(rate) if rate else 1 / _RATE,
        broken=broken,
        cut=sum(e.pos + e.size > source.size for e in stream.index_entries if not e.is_discard),
    )


def _packets(container: InputContainer, stream: VideoStream) -> Iterator[Packet[Any] | None]:
    """The stream's packets in decoding order; None stands for one that could not be read."""
    for _ in range(_DEMUX_ERRORS):
        try:
            for packet in container.demux(stream):
                if packet.size:
                    yield packet
            return
        except av.error.EOFError:
            return
        except MemoryError:
            raise
        except av.error.FFmpegError:
            yield None


class _LostPlace(Exception):  # noqa: N818 - an event
    """A seek did not lead to a packet from which the wanted one can be reached."""


def _decode_planned(
    job: _Job, container: InputContainer, stream: VideoStream, table: PacketTable
) -> Decoded | None:
    """Decode what the wanted frames need; None where the result is not beyond doubt."""
    times, order = table.times(), table.order()
    selection = select(times, job.unit, job.protocol)
    row_of = {int(table.pts[order[i]]): row for row, i in enumerate(selection.wanted)}
    store, painter = job.store(selection), _Painter()
    try:
        for run in decoding_runs(table.entry, table.pts, order[selection.wanted]):
            due: set[int] = set()
            for frame in _run_frames(container, stream, table, run, row_of, due):
                if frame.is_corrupt or frame.pts is None:
                    return None
                due.discard(frame.pts)
                if frame.pts in row_of:
                    store.place(row_of[frame.pts], painter.rgb(frame))
            if due:
                return None
    except MemoryError:
        raise
    except (av.error.FFmpegError, _LostPlace):
        return None
    if not store.complete:
        return None
    damage = Damage(cut=table.cut, share=cut_share(job.source))
    duration_s = length_s(times, float(table.duration[order[-1]]) * table.tick_s, table.frame_s)
    return Decoded(selection, store.shape, times, duration_s, damage.lost(len(times)))


def _run_frames(
    container: InputContainer,
    stream: VideoStream,
    table: PacketTable,
    run: tuple[int, int],
    wanted: Mapping[int, int],
    due: set[int],
) -> Iterator[VideoFrame]:
    """Frames of the packets [first, last]; ``due`` gathers the timestamps that must come out.

    Comparing what went in with what came out finds the packets that give no frame, for which a
    frame's number and its timestamp's rank would differ.
    """
    first, last = run
    for index, packet in _packets_from(container, stream, table, first):
        pts = int(table.pts[index])
        if not table.unreferenced[index] or pts in wanted:
            if table.shown[index] and pts >= table.pts[first]:
                due.add(pts)
            yield from stream.decode(packet)
        if index == last:
            break
    yield from stream.decode(None)


def _packets_from(
    container: InputContainer, stream: VideoStream, table: PacketTable, first: int
) -> Iterator[tuple[int, Packet[Any]]]:
    """(index in the table, packet) from packet ``first`` on; each one is checked to be that one."""
    ticks = table.pts[first] if table.dts[first] == NO_TIME else table.dts[first]
    container.seek(int(ticks), stream=stream)
    index = -1
    for packet in _packets(container, stream):
        if packet is None:
            raise _LostPlace
        pts = NO_TIME if packet.pts is None else packet.pts
        index = _index_of(table, pts) if index < 0 else index + 1
        if not 0 <= index < len(table.pts) or table.pts[index] != pts:
            raise _LostPlace
        if index >= first:
            if packet.dts is not None and table.dts[index] not in (packet.dts, NO_TIME):
                raise _LostPlace
            yield index, packet
    raise _LostPlace


def _index_of(table: PacketTable, pts: int) -> int:
    places = np.flatnonzero(table.pts == pts)
    return int(places[0]) if len(places) == 1 else -1


@dataclass
class _Pass:
    """One sequential decode: the time of every frame that came, and the damage on the way."""

    times: Floats
    duration_s: float
    damage: Damage


def _decode_sequentially(job: _Job, table: PacketTable) -> Decoded:
    """Decode everything from the start, counting; again where the count was guessed wrong."""
    expected = table.times()
    for _ in range(3):
        selection = select(expected, job.unit, job.protocol) if len(expected) else None
        store = job.store(selection) if selection is not None else None
        wanted = selection.wanted.tolist() if selection is not None else []
        done = _decode_all(job, table, store, {i: row for row, i in enumerate(wanted)})
        lost = done.damage.lost(len(done.times))
        actual = select(done.times, job.unit, job.protocol)
        right = selection is not None and np.array_equal(actual.clips, selection.clips)
        if store is not None and right and store.complete:
            return Decoded(actual, store.shape, done.times, done.duration_s, lost)
        expected = done.times
    raise UnitFailure(ErrorType.corrupt, "every decode of this file gives another number of frames")


def _decode_all(
    job: _Job, table: PacketTable, store: FrameStore | None, row_of: Mapping[int, int]
) -> _Pass:
    painter, damage = _Painter(), Damage(cut=table.cut, share=cut_share(job.source))
    ticks: list[int | None] = []
    last = 0
    with opened_video(job.source, max_pixels=job.limits.max_pixels) as (container, stream):
        for packet in _with_flush(_packets(container, stream)):
            try:
                frames = stream.decode(packet)
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
            raise nothing_decoded(job.source, stream, packets=len(table.pts))
    before_keyframe = int(np.argmax(table.keyframe)) if table.keyframe.any() else 0
    damage.unled = max(0, min(before_keyframe, int(table.shown.sum()) - len(ticks)))
    damage.unled = max(0, damage.unled - damage.refused)
    times = _frame_times(ticks, table)
    return _Pass(times, length_s(times, last * table.tick_s, table.frame_s), damage)


def _with_flush(packets: Iterator[Packet[Any] | None]) -> Iterator[Packet[Any] | None]:
    """The packets that could be read, then None, which makes the decoder give up the rest."""
    yield from (packet for packet in packets if packet is not None)
    yield None


def _frame_times(ticks: list[int | None], table: PacketTable) -> Floats:
    """Seconds since the first frame; from the frame rate where timestamps lack or go back."""
    if None not in ticks:
        steps = np.array(ticks, dtype=np.int64)
        if (np.diff(steps) > 0).all():
            return np.asarray((steps - steps[0]) * table.tick_s, dtype=np.float64)
    return np.arange(len(ticks), dtype=np.float64) * table.frame_s


class _Painter:
    """Frames of one video to upright RGB."""

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()

    def rgb(self, frame: VideoFrame) -> Pixels:
        """uint8 (height, width, 3), full size, turned as the file's display matrix says."""
        converted = self._reformatter.reformat(frame, format="rgb24", threads=1)
        pixels = np.asarray(converted.to_ndarray(), dtype=np.uint8)
        turns, rest = divmod(frame.rotation, 90)
        if rest or not turns % 4:
            return pixels
        return np.ascontiguousarray(np.rot90(pixels, turns % 4))
