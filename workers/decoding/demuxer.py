"""Reads the packets of one file, from its start or from a seek."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any
from zlib import crc32

import av.error
from av.codec.hwaccel import HWAccel
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from workers.decoding.bitstream import Reader
from workers.decoding.container import decoding_bytes, opened_video
from workers.decoding.packets import packets
from workers.decoding.plan import NO_TIME, REORDERED, PacketTable
from workers.decoding.progress import Progress
from workers.decoding.types import DECODE_MODES, DecodeLimits
from workers.io.content import Source

# A file up to this size is read once: its packets are kept for decoding.
KEPT_BYTES = 16 << 20

_BACK_S = (0.0, 1.0, 4.0)  # without an index a seek may lead past the packet


class SeekError(Exception):
    """A seek did not lead to the wanted packet, or to one before it."""


class Demuxer:
    """An open file, for reading packets and decoding; a context manager.

    ``container`` and ``stream`` change when the file is opened again. ``sparse``, ``mode`` and
    ``hwaccel`` are as in opened_video. ``progress`` is told of every packet. Raises UnitFailure if
    the file cannot be opened.
    """

    def __init__(
        self,
        source: Source,
        limits: DecodeLimits,
        *,
        sparse: bool = False,
        progress: Progress | None = None,
        mode: str = DECODE_MODES[0],
        hwaccel: HWAccel | None = None,
    ) -> None:
        self.progress = progress or Progress()
        self._source = source
        self._sparse = sparse
        self._hwaccel = hwaccel
        self._limits = limits
        self._mode = mode
        self._open = ExitStack()
        self._moved = False
        self._kept: list[Packet[Any] | None] | None = None
        self.container: InputContainer
        self.stream: VideoStream
        self._start_over()

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self._source.size

    @property
    def tick_s(self) -> float:
        """Seconds of one tick of the stream's timestamps."""
        return float(self.stream.time_base or 0)

    def expect(self, frames: int | None) -> None:
        """Reports that ``frames`` more will be decoded; None if the number is not known.

        Raises UnitFailure where that is more than the limits allow for the size of the file.
        """
        context = self.stream.codec_context
        self.progress.expect(frames=frames, pixels=context.width * context.height)
        self._limits.check(replace(self.progress.work, size=self.size))

    def from_start(self) -> Iterator[Packet[Any] | None]:
        """All packets; opens the file again, as a seek to the start may miss the first ones."""
        if self._moved:
            self._start_over()
        self._moved = True
        return self._passed(packets(self.container, self.stream))

    def whole(self) -> Iterator[Packet[Any] | None]:
        """All packets; once read to the end, those of a small file are kept for later passes."""
        read = self.from_start()  # may open the file again, which changes ``stream``
        return read if self.size > KEPT_BYTES else self._keeping(read)

    def _keeping(self, read: Iterator[Packet[Any] | None]) -> Iterator[Packet[Any] | None]:
        kept = []
        for packet in read:
            kept.append(packet)
            yield packet
        self._kept = kept

    def open_again(self) -> None:
        """Opens the file again, whose bytes may have changed."""
        self._start_over()

    def afresh(self) -> Iterator[Packet[Any] | None]:
        """All packets, for a decoder that has not seen any other."""
        if self._kept is not None and not self.stream.codec_context.is_open:
            return self._passed(iter(self._kept))
        return self.from_start()

    def from_tick(self, tick: int) -> Iterator[Packet[Any] | None]:
        """Packets from about this timestamp on; raises SeekError if the seek fails."""
        self._moved = True
        try:
            self.container.seek(tick, stream=self.stream)
        except MemoryError:
            raise
        except (av.error.FFmpegError, OverflowError):
            raise SeekError from None
        return self._passed(packets(self.container, self.stream))

    def from_byte(self, offset: int) -> Iterator[Packet[Any] | None]:
        """Packets from this byte offset on; raises SeekError if the seek fails."""
        self._moved = True
        try:
            self.container.seek(offset, stream=self.stream, unsupported_byte_offset=True)
        except MemoryError:
            raise
        except av.error.FFmpegError:
            raise SeekError from None
        return self._passed(packets(self.container, self.stream))

    def along(
        self, table: PacketTable, first: int, *, from_start: bool = False
    ) -> Iterator[tuple[int, Packet[Any]]]:
        """(row, packet) from row ``first`` of the table on; each is checked to be that packet.

        Raises SeekError at the first that is not. ``from_start``: the first row is that of the
        file's first packet.
        """
        if self._kept is not None:
            self.stream.codec_context.flush_buffers()
            skipped = len(self._kept) - len(table.pts)  # a table may begin later in the file
            read = self._passed(iter(self._kept[skipped + first :]))
        elif from_start and not first and table.checks is None:
            read = self.from_start()
        else:
            read = self.found(table, first, from_start=from_start and not first)
        for row, packet in enumerate(read, start=first):
            if packet is None or row >= len(table.pts):
                raise SeekError
            if table.checks is None and not _is_row(packet, table, row):
                raise SeekError
            if table.checks is not None:
                _recognize(packet, table, row, int(table.checks[row]))
            if table.unread is not None and not _is_as_named(packet, table, row, table.unread):
                raise SeekError
            yield row, packet
        raise SeekError

    def found(
        self, table: PacketTable, first: int, *, from_start: bool = False
    ) -> Iterator[Packet[Any] | None]:
        """Packets from row ``first`` of the table on; raises SeekError if it is not found.

        ``from_start``: if seeks fail, read from the start; that opens the file again, which loses
        the index that the container built so far.
        """
        ticks = int(table.pts[first] if table.dts[first] == NO_TIME else table.dts[first])
        for back_s in _BACK_S:
            passed = 0
            read = self.from_tick(ticks - round(back_s / table.tick_s))
            for packet in read:
                if packet is not None and _is_row(packet, table, first):
                    yield packet
                    yield from read
                    return
                passed += packet is None or packet.pts is None or packet.pts > table.pts[first]
                if passed > REORDERED:
                    break
        if not from_start:
            raise SeekError
        yield from self.from_start()

    def _passed(self, read: Iterator[Packet[Any] | None]) -> Iterator[Packet[Any] | None]:
        for packet in read:
            self.progress.alive()
            yield packet

    def _start_over(self) -> None:
        self._open.close()
        self.container, self.stream = self._open.enter_context(
            opened_video(
                self._source,
                self._limits,
                sparse=self._sparse,
                mode=self._mode,
                hwaccel=self._hwaccel,
            )
        )
        self.progress.reserve(decoding_bytes(self.stream.codec_context))
        self._moved = False
        self._kept = None

    def close(self) -> None:
        """Close the file; may be called again."""
        self._open.close()

    def __enter__(self) -> Demuxer:
        return self

    def __exit__(self, *error: object) -> None:
        self._open.close()


def _is_row(packet: Packet[Any], table: PacketTable, row: int) -> bool:
    pts = NO_TIME if packet.pts is None else packet.pts
    if table.pts[row] != pts:
        return False
    if table.checks is not None and crc32(memoryview(packet)) != table.checks[row]:
        return False
    return packet.dts is None or table.dts[row] in (packet.dts, NO_TIME)


def _is_as_named(packet: Packet[Any], table: PacketTable, row: int, reader: Reader) -> bool:
    """Whether a packet holds what the table took it to hold by the index alone."""
    data = memoryview(packet)
    return reader.frames(data) == 1 and (not table.entry[row] or reader.is_entry(data))


def _recognize(packet: Packet[Any], table: PacketTable, row: int, check: int) -> None:
    """Raise SeekError unless the packet is that of ``row``, and give it the row's timestamps.

    Packets are compared by their bytes. After a seek, timestamps that the container leaves out are
    guesses.
    """
    if crc32(memoryview(packet)) != check:
        raise SeekError
    packet.pts = int(table.pts[row])
    packet.dts = None if table.dts[row] == NO_TIME else int(table.dts[row])
