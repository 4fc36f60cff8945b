"""Decoding the frames of chosen packets and no more than they need, each recognized by its time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import av.error
from av.video.frame import VideoFrame

from workers.decoding.demuxer import LostPlace, Reading
from workers.decoding.frames import FrameStore, Painter
from workers.decoding.packets import may_stay_undecoded
from workers.decoding.plan import Ints, PacketTable, decoding_runs


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
    painter = Painter()

    def place(row: int, frame: VideoFrame) -> None:
        store.place(row, painter.rgb(frame))

    return _went(reading, table, wanted, place, starts_file) and store.complete


def comes_whole(
    reading: Reading, table: PacketTable, wanted: Ints, *, starts_file: bool = False
) -> bool:
    """Whether the packets ``wanted`` give their frames, and all went as the table says."""
    came: list[int] = []
    went = _went(reading, table, wanted, lambda row, frame: came.append(row), starts_file)
    return went and len(came) == len(wanted)


def _went(
    reading: Reading,
    table: PacketTable,
    wanted: Ints,
    take: Callable[[int, VideoFrame], None],
    starts_file: bool,
) -> bool:
    row_of = {int(table.pts[packet]): row for row, packet in enumerate(wanted)}
    runs = decoding_runs(table.entry, table.pts, wanted)
    reading.expect(sum(last + 1 - first for first, last in runs))
    try:
        for run in runs:
            due: set[int] = set()
            before = None
            for frame in _run_frames(reading, table, run, row_of, due, starts_file):
                if frame.is_corrupt or frame.pts is None:
                    return False
                if before is not None and frame.pts <= before:
                    return False
                before = frame.pts
                if frame.pts not in due:
                    if frame.pts >= table.pts[run[0]]:
                        return False
                    continue  # it margins an entry, and lacks what was not decoded before
                due.remove(frame.pts)
                if frame.pts in row_of:
                    take(row_of[frame.pts], frame)
            if due:
                return False
    except MemoryError:
        raise
    except (av.error.FFmpegError, LostPlace):
        return False
    return True


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
            margins = pts < table.pts[first] and not (starts_file and not first)
            if table.shown[index] and not margins:
                due.add(pts)
            yield from reading.stream.decode(packet)
        if index == last:
            break
    yield from reading.stream.decode(None)
