"""Decoding for dense labeling: each unit is a segment of a recording of any length.

The reference is a sequential decode of the whole file: its frames do not depend on how the file is
cut into segments. Three ways give the same frames; the first whose result is certain is taken:

1. planned decode: the packets of a window that the wanted frames need, identified by timestamps.
   Where a seek by time is not possible, the window is the whole file, read once for all segments;
2. all packets of a window that starts at least one entry earlier; it copes with damage in the
   window and with packets that give no frame;
3. all packets from the start of the file to the end of the segment.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from workers.decoding.clips import ClipPicker, check_clips
from workers.decoding.container import nothing_decoded
from workers.decoding.demuxer import Demuxer, SeekError
from workers.decoding.duration import duration_s
from workers.decoding.endings import ending
from workers.decoding.frames import Allocate
from workers.decoding.job import DecodeJob
from workers.decoding.packets import (
    frame_seconds,
    frames_cut,
    read_table,
    times_of_display,
)
from workers.decoding.plan import Floats, clip_times
from workers.decoding.planned import decode_frames
from workers.decoding.progress import Progress
from workers.decoding.result import Decoded
from workers.decoding.seek_window import Need, Window, read_window, whole_window
from workers.decoding.segment_count import check_segment_count
from workers.decoding.sequential import FrameClock, Ranks, SequentialDecode, last_frame_s
from workers.decoding.start_time import StartTime, find_start_time
from workers.decoding.stream_index import StreamIndex, find_index
from workers.decoding.types import DECODE_MODES, DecodeLimits, Unit
from workers.io.content import Source
from workers.sampling import SAME_S, Protocol

_MARGINS = (1, 4, 16)
_FIRST_ROOM = 64
_ENDLESS = float("inf")


class SegmentDecoder:
    """Decodes segments of long videos, one after the other.

    The file stays open for the next unit, which is mostly the next segment of the same recording,
    so that its index is read only once.
    """

    def __init__(
        self,
        protocol: Protocol,
        limits: DecodeLimits,
        *,
        progress: Progress | None = None,
        mode: str = DECODE_MODES[0],
    ) -> None:
        self._protocol = protocol
        self._limits = limits
        self._mode = mode
        self._progress = progress
        self._open: _Open | None = None

    def decode(self, source: Source, unit: Unit, allocate: Allocate) -> Decoded:
        """Decodes the clips that start in ``unit``; raises UnitFailure.

        A unit that is a whole recording has no duration yet: it is measured first.
        """
        if unit.start_s is None and unit.end_s is None:
            self.measure(source)
        with self._opened(source) as opened:
            job = DecodeJob(source, unit, self._protocol, self._limits, allocate, mode=self._mode)
            return _SegmentDecode(job, opened.demuxer).decode(opened)

    def measure(self, source: Source) -> float:
        """Seconds of the whole video, found without decoding it; raises UnitFailure.

        So it does for a video that would be divided into too many segments.
        """
        with self._opened(source) as opened:
            found = duration_s(source, opened.demuxer, opened.origin)
            check_segment_count(opened.demuxer, found, self._protocol, self._limits)
            return found

    def close(self) -> None:
        """Close the file; may be called again."""
        opened, self._open = self._open, None
        if opened is not None:
            opened.demuxer.close()

    @contextmanager
    def _opened(self, source: Source) -> Iterator[_Open]:
        """The file, opened if it is not; closed after an error."""
        if self._open is None or self._open.source != source:
            self.close()
            demuxer = Demuxer(
                source, self._limits, sparse=True, progress=self._progress, mode=self._mode
            )
            self._open = _Open(source, demuxer, StartTime(None))
            try:
                self._open = _Open(source, demuxer, find_start_time(demuxer))
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
    demuxer: Demuxer
    origin: StartTime

    @cached_property
    def index(self) -> StreamIndex | None:
        """The index of a file without one, from a pass over its packets.

        None also where its times would differ from those of a decode from the start.
        """
        read, stream = self.demuxer.whole(), self.demuxer.stream
        table = read_table(read, stream, size=self.source.size, unindexed=True)
        index = find_index(self.demuxer, table)
        if index is None:
            return None
        ranks = index.table.ranked(int(index.table.shown.sum()))
        return index if self.origin.ranked == (ranks is not None) else None


class _SegmentDecode:
    """The decode of one unit from an open file."""

    def __init__(self, job: DecodeJob, demuxer: Demuxer) -> None:
        self.job, self.demuxer = job, demuxer
        self.need = Need.of(job.protocol, job.unit.start_s, job.unit.end_s)

    def decode(self, opened: _Open) -> Decoded:
        tick, result = opened.origin.tick, None
        index = opened.index if tick is None else None
        undecodable = opened.origin.undecodable if index is None else index.undecodable
        undecodable = undecodable if self.need.start_s <= SAME_S else 0
        if index is not None:
            result = self._by_plan(whole_window(index), undecodable)
        elif tick is not None:
            result = self._by_plan(read_window(self.demuxer, tick, self.need), undecodable)
            if result is None:
                result = self._by_window(tick, undecodable)
        return self._from_start(undecodable, opened.origin.ranked) if result is None else result

    def _by_plan(self, window: Window | None, undecodable: int) -> Decoded | None:
        if window is None or not window.table.trustworthy():
            return None
        need = self.need
        times = window.times()
        if times[0] > need.start_s + SAME_S and not window.starts_file:
            return None
        duration_s = _length_s(times, window)
        numbers = self.job.protocol.clip_numbers(need.start_s, min(need.end_s, duration_s))
        check_clips(len(numbers), need, duration_s)
        clips = self.job.protocol.dense_indices(times, numbers)
        wanted, rows = np.unique(clips, return_inverse=True)
        store, packets = self.job.store(len(wanted)), window.order()[wanted]
        whole = window.starts_file
        if not decode_frames(self.demuxer, window.table, packets, store, starts_file=whole):
            return None
        first, last = np.searchsorted(times, np.array([need.start_s, need.end_s]) - SAME_S)
        return Decoded(
            shape=store.shape,
            clip_frames=rows.reshape(clips.shape),
            clip_times=clip_times(times, clips),
            frame_count=int(last - first),
            duration_s=min(need.end_s, duration_s) - need.start_s,
            lost_frames=undecodable + self._beyond_end(duration_s),
            first_clip=numbers.start,
        )

    def _by_window(self, origin: int, undecodable: int) -> Decoded | None:
        for margin in _MARGINS:
            window = read_window(self.demuxer, origin, self.need, margin=margin)
            if window is None or window.starts_file:
                return None
            picker, run = self._run(window.reliable_s, origin)
            try:
                if run.decode(self.demuxer.found(window.table, 0)):
                    return self._picked(picker, run, undecodable)
            except SeekError:
                return None
        return None

    def _from_start(self, undecodable: int, ranked: bool) -> Decoded:
        read = self.demuxer.from_start()
        picker, run = self._run(-_ENDLESS, ranked=ranked)
        end_s, frame_s = self.need.end_s, frame_seconds(self.demuxer.stream)
        self.demuxer.expect(None if end_s == _ENDLESS else round(end_s / frame_s))
        run.decode(read)
        if not run.frames:
            raise nothing_decoded(self.job.source, self.demuxer.stream, packets=run.packets)
        return self._picked(picker, run, undecodable)

    def _run(
        self, reliable_s: float, origin: int | None = None, *, ranked: bool = False
    ) -> tuple[ClipPicker, SequentialDecode]:
        stream = self.demuxer.stream
        frame_s, ranks = frame_seconds(stream), None
        if ranked:
            delay = stream.codec_context.reorder_depth
            ranks = Ranks(delay, by_display=times_of_display(self.demuxer.container))
        picker = ClipPicker(self.job.protocol, self.need, self.job.store(_FIRST_ROOM, growing=True))
        run = SequentialDecode(
            self.demuxer,
            picker,
            FrameClock(self.demuxer.tick_s, frame_s, origin),
            segment=(self.need.start_s, self.need.end_s),
            reliable_s=reliable_s,
            frame_s=frame_s,
            ranks=ranks,
        )
        return picker, run

    def _picked(self, picker: ClipPicker, run: SequentialDecode, undecodable: int) -> Decoded:
        run.damage.undecodable = undecodable
        lost = run.damage.lost(picker.frame_count)
        return picker.decoded(run.duration_s, lost + self._beyond_end(run.duration_s))

    def _beyond_end(self, duration_s: float) -> int:
        """Frames missing at the end of the file; only the last segment counts them."""
        if self.need.end_s < _ENDLESS:
            return 0
        stream, frame_s = self.demuxer.stream, frame_seconds(self.demuxer.stream)
        cut = frames_cut(stream, self.job.source.size)
        end = ending(self.job.source, stream, frame_s=frame_s)
        return max(cut, end.missing(round(duration_s / frame_s)))


def _length_s(times: Floats, window: Window) -> float:
    """Seconds of the video, infinite where the window does not reach its end."""
    if not window.ends_file:
        return _ENDLESS
    table = window.table
    own_s = float(table.duration[window.order()[-1]]) * table.tick_s
    gap_s = float(times[-1] - times[-2]) if len(times) > 1 else 0.0
    return float(times[-1]) + last_frame_s(own_s, gap_s, table.frame_s)
