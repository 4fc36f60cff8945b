"""Planned decode: decodes only the packets that the wanted frames need."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import av.error
from av.video.frame import VideoFrame

from workers.decoding.demuxer import Demuxer, SeekError
from workers.decoding.frames import FrameStore, RgbConverter
from workers.decoding.plan import Ints, PacketTable, decoding_runs
from workers.decoding.unreferenced import may_stay_undecoded


def decode_frames(
    demuxer: Demuxer,
    table: PacketTable,
    wanted: Ints,
    store: FrameStore,
    *,
    starts_file: bool = False,
) -> bool:
    """Decodes the frames of the packets ``wanted`` into rows 0, 1, 2, … of the store.

    Only packets that they need are decoded. False where a frame is missing or a packet differs from
    the table. ``starts_file``: row 0 of the table is the file's first packet.
    """
    converter = RgbConverter()

    def place(row: int, frame: VideoFrame) -> None:
        store.place(row, converter.rgb(frame))

    return _decode(demuxer, table, wanted, place, starts_file) and store.complete


def decodes_completely(
    demuxer: Demuxer, table: PacketTable, wanted: Ints, *, starts_file: bool = False
) -> bool:
    """Whether the packets ``wanted`` decode to one frame each, and all packets match the table."""
    came: list[int] = []
    went = _decode(demuxer, table, wanted, lambda row, frame: came.append(row), starts_file)
    return went and len(came) == len(wanted)


def _decode(
    demuxer: Demuxer,
    table: PacketTable,
    wanted: Ints,
    take: Callable[[int, VideoFrame], None],
    starts_file: bool,
) -> bool:
    row_of = {int(table.pts[packet]): row for row, packet in enumerate(wanted)}
    runs = decoding_runs(table.entry, table.pts, wanted)
    demuxer.expect(sum(last + 1 - first for first, last in runs))
    try:
        for run in runs:
            due: set[int] = set()
            before = None
            for frame in _run_frames(demuxer, table, run, row_of, due, starts_file):
                if frame.is_corrupt or frame.pts is None:
                    return False
                if before is not None and frame.pts <= before:
                    return False
                before = frame.pts
                if frame.pts not in due:
                    if frame.pts >= table.pts[run[0]]:
                        return False
                    continue  # a leading picture: it refers to packets that were not decoded
                due.remove(frame.pts)
                if frame.pts in row_of:
                    take(row_of[frame.pts], frame)
            if due:
                return False
    except MemoryError:
        raise
    except (av.error.FFmpegError, SeekError):
        return False
    return True


def _run_frames(
    demuxer: Demuxer,
    table: PacketTable,
    run: tuple[int, int],
    wanted: Mapping[int, int],
    due: set[int],
    starts_file: bool,
) -> Iterator[VideoFrame]:
    """Frames of the packets [first, last]; ``due`` collects the timestamps that must come out.

    Comparing both finds packets that give no frame: after one, frame numbers would no longer match
    the order of timestamps.
    """
    first, last = run
    unneeded = may_stay_undecoded(demuxer.stream)
    for index, packet in demuxer.along(table, first, from_start=starts_file):
        pts = int(table.pts[index])
        if pts in wanted or not unneeded(packet):
            is_leading = pts < table.pts[first] and not (starts_file and not first)
            if table.shown[index] and not is_leading:
                due.add(pts)
            yield from demuxer.stream.decode(packet)
        if index == last:
            break
    yield from demuxer.stream.decode(None)
