"""Units of a timeline: each decodes its own segment of a recording, however long that is.

Truth is what a sequential decode of the whole file gives; how the file is cut into units changes
nothing. Three ways lead to it, the first that is beyond doubt is taken:

1. the packets of a window that the wanted frames need, recognized by their timestamps; where
   times do not lead to a place in the file, the window is the whole file, read once for all units;
2. every packet of a window that begins at least one entry earlier, which damage in it, or packets
   that give no frame, do not confuse;
3. every packet from the start of the file to the end of the segment.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from workers.decoding.clips import ClipPicker, check_clips
from workers.decoding.container import nothing_decoded
from workers.decoding.demuxer import LostPlace, Reading
from workers.decoding.duration import duration_s
from workers.decoding.endings import ending
from workers.decoding.frames import Allocate, FrameStore
from workers.decoding.packets import (
    frame_seconds,
    frames_cut,
    read_table,
    times_of_display,
)
from workers.decoding.plan import Floats, clip_times
from workers.decoding.planned import place_frames
from workers.decoding.progress import Progress
from workers.decoding.result import Decoded
from workers.decoding.seek_window import Need, Window, read_window, whole_window
from workers.decoding.sequential import Clock, Ranks, Run, last_frame_s
from workers.decoding.start_time import Origin, find_origin
from workers.decoding.stream_index import StreamIndex, find_index
from workers.decoding.types import DecodeLimits, Unit
from workers.io.fetching import Source
from workers.sampling import SAME_S, Protocol

_LEADS = (1, 4, 16)
_FIRST_ROOM = 64
_ENDLESS = float("inf")


class TimelineDecoder:
    """Decodes units of timelines, one after the other.

    The file stays open for the next unit, which is mostly the next segment of the same recording:
    its index, hours long or gathered on the way, need not be read again.
    """

    def __init__(
        self, protocol: Protocol, limits: DecodeLimits, *, progress: Progress | None = None
    ) -> None:
        self._protocol = protocol
        self._limits = limits
        self._progress = progress
        self._open: _Open | None = None

    def decode(self, source: Source, unit: Unit, allocate: Allocate) -> Decoded:
        """The clips of the timeline that start in ``unit``; raises UnitFailure."""
        with self._opened(source) as opened:
            job = _Job(source, unit, self._protocol, self._limits, allocate, opened.reading)
            return job.decoded(opened)

    def measure(self, source: Source) -> float:
        """Seconds of the whole video, found without decoding it; raises UnitFailure."""
        with self._opened(source) as opened:
            return duration_s(source, opened.reading, opened.origin)

    def close(self) -> None:
        """Close the file; may be called again."""
        opened, self._open = self._open, None
        if opened is not None:
            opened.reading.close()

    @contextmanager
    def _opened(self, source: Source) -> Iterator[_Open]:
        """The file, opened unless it is; closed where anything goes wrong with it."""
        if self._open is None or self._open.source != source:
            self.close()
            reading = Reading(
                source,
                max_pixels=self._limits.max_pixels,
                sparse=True,
                progress=self._progress,
            )
            self._open = _Open(source, reading, Origin(None))
            try:
                self._open = _Open(source, reading, find_origin(reading))
            except BaseException:
                self.close()
                raise
        try:
            yield self._open
        except BaseException:
            self.close()
            raise


@dataclass
class _Open:
    source: Source
    reading: Reading
    origin: Origin

    @cached_property
    def index(self) -> StreamIndex | None:
        """Of a file whose times do not lead to its frames: what a pass over its packets finds.

        None also where it would time frames otherwise than a decode from the start.
        """
        read, stream = self.reading.whole(), self.reading.stream
        table = read_table(read, stream, size=self.source.size, unindexed=True)
        index = find_index(self.reading, table)
        if index is None:
            return None
        ranks = index.table.ranked(int(index.table.shown.sum()))
        return index if self.origin.ranked == (ranks is not None) else None


@dataclass
class _Job:
    """One unit over an opened file."""

    source: Source
    unit: Unit
    protocol: Protocol
    limits: DecodeLimits
    allocate: Allocate
    reading: Reading

    def __post_init__(self) -> None:
        self.need = Need.of(self.protocol, self.unit.start_s, self.unit.end_s)

    def decoded(self, opened: _Open) -> Decoded:
        tick, result = opened.origin.tick, None
        index = opened.index if tick is None else None
        unled = opened.origin.unled if index is None else index.unled
        unled = unled if self.need.start_s <= SAME_S else 0
        if index is not None:
            result = self._by_plan(whole_window(index), unled)
        elif tick is not None:
            result = self._by_plan(read_window(self.reading, tick, self.need), unled)
            if result is None:
                result = self._by_window(tick, unled)
        return self._from_start(unled, opened.origin.ranked) if result is None else result

    def _by_plan(self, window: Window | None, unled: int) -> Decoded | None:
        if window is None or not window.table.trustworthy():
            return None
        need = self.need
        times = window.times()
        if times[0] > need.start_s + SAME_S and not window.starts_file:
            return None
        duration_s = _length_s(times, window)
        numbers = self.protocol.clip_numbers(need.start_s, min(need.end_s, duration_s))
        check_clips(len(numbers), need, duration_s)
        clips = self.protocol.timeline_indices(times, numbers)
        wanted, rows = np.unique(clips, return_inverse=True)
        store, packets = self._store(len(wanted)), window.order()[wanted]
        whole = window.starts_file
        if not place_frames(self.reading, window.table, packets, store, starts_file=whole):
            return None
        first, last = np.searchsorted(times, np.array([need.start_s, need.end_s]) - SAME_S)
        return Decoded(
            shape=store.shape,
            clip_frames=rows.reshape(clips.shape),
            clip_times=clip_times(times, clips),
            frame_count=int(last - first),
            duration_s=min(need.end_s, duration_s) - need.start_s,
            lost_frames=unled + self._beyond_end(duration_s),
            first_clip=numbers.start,
        )

    def _by_window(self, origin: int, unled: int) -> Decoded | None:
        for margin in _LEADS:
            window = read_window(self.reading, origin, self.need, margin=margin)
            if window is None or window.starts_file:
                return None
            picker, run = self._run(window.firm_s, origin)
            try:
                if run.over(self.reading.found(window.table, 0)):
                    return self._picked(picker, run, unled)
            except LostPlace:
                return None
        return None

    def _from_start(self, unled: int, ranked: bool) -> Decoded:
        read = self.reading.from_start()
        picker, run = self._run(-_ENDLESS, ranked=ranked)
        end_s, frame_s = self.need.end_s, frame_seconds(self.reading.stream)
        self.reading.expect(None if end_s == _ENDLESS else round(end_s / frame_s))
        run.over(read)
        if not run.frames:
            raise nothing_decoded(self.source, self.reading.stream, packets=run.packets)
        return self._picked(picker, run, unled)

    def _run(
        self, firm_s: float, origin: int | None = None, *, ranked: bool = False
    ) -> tuple[ClipPicker, Run]:
        stream = self.reading.stream
        frame_s, ranks = frame_seconds(stream), None
        if ranked:
            delay = stream.codec_context.reorder_depth
            ranks = Ranks(delay, by_display=times_of_display(self.reading.container))
        picker = ClipPicker(self.protocol, self.need, self._store(_FIRST_ROOM, growing=True))
        run = Run(
            self.reading,
            picker,
            Clock(self.reading.tick_s, frame_s, origin),
            segment=(self.need.start_s, self.need.end_s),
            firm_s=firm_s,
            frame_s=frame_s,
            ranks=ranks,
        )
        return picker, run

    def _picked(self, picker: ClipPicker, run: Run, unled: int) -> Decoded:
        run.damage.unled = unled
        lost = run.damage.lost(picker.frame_count)
        return picker.decoded(run.duration_s, lost + self._beyond_end(run.duration_s))

    def _beyond_end(self, duration_s: float) -> int:
        """Frames that are missing at the end of the file: the last unit counts them."""
        if self.need.end_s < _ENDLESS:
            return 0
        stream, frame_s = self.reading.stream, frame_seconds(self.reading.stream)
        cut = frames_cut(stream, self.source.size)
        end = ending(self.source, stream, frame_s=frame_s)
        return max(cut, end.missing(round(duration_s / frame_s)))

    def _store(self, count: int, *, growing: bool = False) -> FrameStore:
        return FrameStore(
            count,
            self.protocol,
            self.allocate,
            output_bytes=self.limits.output_bytes,
            growing=growing,
        )


def _length_s(times: Floats, window: Window) -> float:
    """Seconds of the video, infinite where the window does not reach its end."""
    if not window.ends_file:
        return _ENDLESS
    table = window.table
    own_s = float(table.duration[window.order()[-1]]) * table.tick_s
    gap_s = float(times[-1] - times[-2]) if len(times) > 1 else 0.0
    return float(times[-1]) + last_frame_s(own_s, gap_s, table.frame_s)
