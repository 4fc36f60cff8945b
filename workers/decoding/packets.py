"""Reads the packets of a stream into a PacketTable, without decoding."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from zlib import crc32

import av.error
import numpy as np
from av.container import Container, InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from workers.decoding import bitstream, nal
from workers.decoding.pictures import Pictures
from workers.decoding.plan import NO_TIME, PacketTable

_TIMED_FORMATS = {"mov", "mp4", "matroska", "webm", "mpegts", "flv"}
_DEMUX_ERRORS = 100
_RATE = 25.0
_LONGEST_FRAME_S = 3600.0  # a rate that makes frames longer is one that nobody set

_SHOWN, _ENTRY, _KEYFRAME = 1, 2, 4


def packets(container: InputContainer, stream: VideoStream) -> Iterator[Packet[Any] | None]:
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


def frame_seconds(stream: VideoStream) -> float:
    """Seconds from frame to frame by the stream's rate, as far as it is known."""
    for rate in (stream.average_rate, stream.guessed_rate):
        if rate and 1 / float(rate) <= _LONGEST_FRAME_S:
            return 1 / float(rate)
    return 1 / _RATE


def times_of_display(container: Container) -> bool:
    """Whether the container says of packets when they are shown, and not only when decoded."""
    return not _TIMED_FORMATS.isdisjoint(container.format.name.split(","))


class PacketRows:
    """Rows gathered packet by packet; 25 bytes each.

    ``open_groups``: entries are also the H.264 pictures whose encoder promises that all pictures
    shown after them come out exactly. ``unindexed``: the packets are what a container without an
    index was split into, so that each is asked whether it is whole; 29 bytes each. ``unread``: the
    packets have no contents, and each is taken to hold a frame.
    """

    def __init__(
        self,
        stream: VideoStream,
        *,
        open_groups: bool = False,
        unindexed: bool = False,
        unread: bool = False,
    ) -> None:
        self._stream = stream
        self._unread = unread
        self._open_groups = open_groups
        self._codec = stream.codec_context.name
        extradata = stream.codec_context.extradata
        self._framing = nal.framing(self._codec, extradata)
        self._bits = bitstream.reader(self._codec, extradata)
        self._pts, self._dts, self._duration = array("q"), array("q"), array("q")
        self._flags = bytearray()
        self._checks = array("I")
        self._pictures = Pictures(self._codec, extradata) if unindexed else None
        self.broken = 0
        self.doubtful = 0

    def __len__(self) -> int:
        return len(self._flags)

    def add(self, packet: Packet[Any] | None) -> bool:
        """Note a packet, or one that could not be read; whether decoding may start with it."""
        broken = packet is None or packet.is_corrupt
        self.broken += broken
        if packet is None:
            return False
        data = memoryview(packet)
        frames = self._frames(data)
        flags = 0 if packet.is_discard or not frames else _SHOWN
        if packet.is_keyframe:
            flags |= _KEYFRAME | (_ENTRY if self._is_entry(data) else 0)
        self._pts.append(NO_TIME if packet.pts is None else packet.pts)
        self._dts.append(NO_TIME if packet.dts is None else packet.dts)
        self._duration.append(packet.duration or 0)
        self._flags.append(flags)
        self.doubtful += frames not in (0, 1) or not self._is_whole(packet, data)
        return bool(flags & _ENTRY) and not broken

    def drop(self, count: int) -> None:
        """Forget the first ``count`` rows."""
        if count == len(self) - 1:
            self.broken = self.doubtful = 0
        for column in (self._pts, self._dts, self._duration, self._flags):
            del column[:count]

    def table(self, *, cut: int = 0) -> PacketTable:
        """The rows as they are by now; ``cut`` as in PacketTable."""
        flags = np.frombuffer(bytes(self._flags), dtype=np.uint8)
        return PacketTable(
            pts=np.array(self._pts, dtype=np.int64),
            dts=np.array(self._dts, dtype=np.int64),
            duration=np.array(self._duration, dtype=np.int64),
            shown=(flags & _SHOWN) > 0,
            entry=(flags & _ENTRY) > 0,
            keyframe=(flags & _KEYFRAME) > 0,
            tick_s=float(self._stream.time_base or 0),
            frame_s=frame_seconds(self._stream),
            broken=self.broken,
            cut=cut,
            doubtful=self.doubtful,
            delay=self._stream.codec_context.reorder_depth,
            by_display=times_of_display(self._stream.container),
            checks=None if self._pictures is None else np.array(self._checks, dtype=np.uint32),
            unread=self._bits if self._unread else None,
        )

    def _frames(self, data: memoryview) -> int:
        if self._bits is None:
            return bitstream.UNKNOWN
        return 1 if self._unread else self._bits.frames(data)

    def _is_whole(self, packet: Packet[Any], data: memoryview) -> bool:
        if self._pictures is None:
            return True
        self._checks.append(crc32(data))
        changes = len(self) > 1 and packet.has_sidedata("new_extradata")
        return self._pictures.is_whole(data) and not changes

    def _is_entry(self, data: memoryview) -> bool:
        if self._bits is None:
            return False
        if self._bits.is_entry(data):
            return True
        if not self._open_groups or self._framing is None:
            return False
        return nal.is_exact_recovery(self._codec, data, self._framing)


def frames_cut(stream: VideoStream, size: int) -> int:
    """Frames at the end of the stream's index that lie beyond the end of a file of ``size`` bytes.

    An index is in the order of time, which is that of the places in all but odd files.
    """
    entries, cut = stream.index_entries, 0
    for number in range(len(entries) - 1, -1, -1):
        entry = entries[number]
        if entry.pos + entry.size <= size:
            break
        cut += not entry.is_discard
    return cut


def read_table(
    read: Iterator[Packet[Any] | None], stream: VideoStream, *, size: int, unindexed: bool = False
) -> PacketTable:
    """The table of all packets of a file of ``size`` bytes, ``read`` from the start to the end.

    ``unindexed`` as in PacketRows.
    """
    rows = PacketRows(stream, open_groups=unindexed, unindexed=unindexed)
    for packet in read:
        rows.add(packet)
    return rows.table(
        cut=sum(e.pos + e.size > size for e in stream.index_entries if not e.is_discard)
    )


def read_index(
    read: Iterator[Packet[Any] | None], stream: VideoStream, *, size: int
) -> PacketTable | None:
    """As `read_table`, of packets without contents: each is taken to hold a frame, and those that
    the index calls keyframes to be entries.

    None where the index names other packets than ``read`` gives.
    """
    rows = PacketRows(stream, unread=True)
    for packet in read:
        rows.add(packet)
    entries = stream.index_entries
    table = rows.table(cut=sum(e.pos + e.size > size for e in entries if not e.is_discard))
    if [entry.timestamp for entry in entries] != table.dts.tolist():
        return None
    # FFmpeg's parser takes the flag from packets whose contents it does not know.
    keyframes = np.array([entry.is_keyframe for entry in entries], dtype=np.bool_)
    return replace(table, keyframe=keyframes, entry=keyframes)
