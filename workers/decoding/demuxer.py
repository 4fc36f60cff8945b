"""Passes over the packets of one file, from its start or from a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from types import TracebackType
from typing import Any
from zlib import crc32

import av.error
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from workers.decoding.container import opened_video
from workers.decoding.packets import packets
from workers.decoding.plan import NO_TIME, REORDERED, PacketTable
from workers.decoding.progress import Progress
from workers.io.fetching import Source

# A file up to this size is read once: its packets are kept for decoding.
KEPT_BYTES = 16 << 20

_BACK_S = (0.0, 1.0, 4.0)  # a seek in a stream without an index may margin beyond the place


class LostPlace(Exception):  # noqa: N818 - an event
    """A seek did not lead to a packet from which the wanted one can be reached."""


class Reading:
    """A file that is open for reading packets and decoding; a context manager.

    ``container`` and ``stream`` are those of the present pass, ``sparse`` is as in opened_video.
    ``progress`` is told of every packet that is passed. Raises UnitFailure where the file cannot be
    opened.
    """

    def __init__(
        self,
        source: Source,
        *,
        max_pixels: int,
        sparse: bool = False,
        progress: Progress | None = None,
    ) -> None:
        self.progress = progress or Progress()
        self._source = source
        self._sparse = sparse
        self._max_pixels = max_pixels
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
        """So many more frames will be decoded; None where their number is not known."""
        context = self.stream.codec_context
        self.progress.expect(frames=frames, pixels=context.width * context.height)

    def from_start(self) -> Iterator[Packet[Any] | None]:
        """All packets; by opening anew, as a seek to the start may miss the first ones."""
        if self._moved:
            self._start_over()
        self._moved = True
        return self._passed(packets(self.container, self.stream))

    def whole(self) -> Iterator[Packet[Any] | None]:
        """All packets; if they are read to the end, later passes over a small file take these."""
        read = self.from_start()  # which may open anew: ``stream`` is that of this pass from now on
        return read if self.size > KEPT_BYTES else self._keeping(read)

    def _keeping(self, read: Iterator[Packet[Any] | None]) -> Iterator[Packet[Any] | None]:
        kept = []
        for packet in read:
            kept.append(packet)
            yield packet
        self._kept = kept

    def afresh(self) -> Iterator[Packet[Any] | None]:
        """All packets, for a decoder that has not seen any other."""
        if self._kept is not None and not self.stream.codec_context.is_open:
            return self._passed(iter(self._kept))
        return self.from_start()

    def from_tick(self, tick: int) -> Iterator[Packet[Any] | None]:
        """Packets from about this timestamp on; raises LostPlace where there is no way there."""
        self._moved = True
        try:
            self.container.seek(tick, stream=self.stream)
        except MemoryError:
            raise
        except (av.error.FFmpegError, OverflowError):
            raise LostPlace from None
        return self._passed(packets(self.container, self.stream))

    def from_byte(self, offset: int) -> Iterator[Packet[Any] | None]:
        """Packets from this place of the file on; raises LostPlace where it cannot be gone to."""
        self._moved = True
        try:
            self.container.seek(offset, stream=self.stream, unsupported_byte_offset=True)
        except MemoryError:
            raise
        except av.error.FFmpegError:
            raise LostPlace from None
        return self._passed(packets(self.container, self.stream))

    def along(
        self, table: PacketTable, first: int, *, from_start: bool = False
    ) -> Iterator[tuple[int, Packet[Any]]]:
        """(row, packet) from row ``first`` of the table on; each is checked to be that packet.

        Raises LostPlace at the first that is not. ``from_start``: the first row is that of the
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
                raise LostPlace
            if table.checks is None and not _is_row(packet, table, row):
                raise LostPlace
            if table.checks is not None:
                _recognize(packet, table, row, int(table.checks[row]))
            yield row, packet
        raise LostPlace

    def found(
        self, table: PacketTable, first: int, *, from_start: bool = False
    ) -> Iterator[Packet[Any] | None]:
        """Packets from row ``first`` of the table on; raises LostPlace if it is not found.

        ``from_start``: it may be looked for by opening anew, which loses what the container has
        gathered of an index.
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
            raise LostPlace
        yield from self.from_start()

    def _passed(self, read: Iterator[Packet[Any] | None]) -> Iterator[Packet[Any] | None]:
        for packet in read:
            self.progress.alive()
            yield packet

    def _start_over(self) -> None:
        self._open.close()
        self.container, self.stream = self._open.enter_context(
            opened_video(self._source, max_pixels=self._max_pixels, sparse=self._sparse)
        )
        self._moved = False
        self._kept = None

    def close(self) -> None:
        """Close the file; may be called again."""
        self._open.close()

    def __enter__(self) -> Reading:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._open.close()


def _is_row(packet: Packet[Any], table: PacketTable, row: int) -> bool:
    pts = NO_TIME if packet.pts is None else packet.pts
    if table.pts[row] != pts:
        return False
    if table.checks is not None and crc32(memoryview(packet)) != table.checks[row]:
        return False
    return packet.dts is None or table.dts[row] in (packet.dts, NO_TIME)


def _recognize(packet: Packet[Any], table: PacketTable, row: int, check: int) -> None:
    """Raise LostPlace unless the packet is that of ``row``, and give it the row's timestamps.

    Its bytes tell: the same ones in the same order give the same pictures, while timestamps that
    a container leaves out are guessed from those before, which a seek has passed over.
    """
    if crc32(memoryview(packet)) != check:
        raise LostPlace
    packet.pts = int(table.pts[row])
    packet.dts = None if table.dts[row] == NO_TIME else int(table.dts[row])
