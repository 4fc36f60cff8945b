"""The decoder `pyav`: decodes the packets that the wanted frames need, or the whole video.

The reference is a sequential decode of the whole stream: frame i is the i-th frame it gives. A
planned decode gives the same frames from fewer packets. It needs timestamps that identify every
frame, from the container's index (mp4, mov, Matroska, WebM) or from a pass over all packets, and a
bitstream with at most one frame per packet; each decoded frame is identified by its timestamp. If
anything is missing, damaged or ambiguous, the whole video is decoded and its frames are counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import av.error
import numpy as np

from workers.decoding import nal
from workers.decoding.container import nothing_decoded
from workers.decoding.damage import Damage
from workers.decoding.demuxer import Demuxer
from workers.decoding.endings import ending
from workers.decoding.frames import FrameStore, RgbConverter
from workers.decoding.job import DecodeJob
from workers.decoding.media_data import media_range
from workers.decoding.packets import read_index, read_table
from workers.decoding.plan import (
    Floats,
    Ints,
    PacketTable,
    Selection,
    frames_to_decode,
    length_s,
    seconds,
    select,
)
from workers.decoding.planned import decode_frames
from workers.decoding.result import Decoded
from workers.decoding.sequential import with_flush
from workers.decoding.stream_index import StreamIndex, find_index, share_to_decode
from workers.decoding.types import reads_a_part
from workers.failures import ErrorType, UnitFailure
from workers.io.content import ContentWithHole

_INDEXED_FORMATS = {"mov", "mp4", "matroska", "webm"}
_WORTH_PLANNING = 0.5

# Decoding and converting so many frames more costs less than opening the video again for them.
_FEW_FRAMES = 12


def decode(job: DecodeJob) -> Decoded:
    """Decodes the frames that the job's protocol takes from its unit; raises UnitFailure."""
    if reads_a_part(job.unit, job.mode):
        decoded = _decode_a_part(job)
        if decoded is not None:
            return decoded
    source = job.source
    with Demuxer(
        source, job.limits, progress=job.progress, mode=job.mode, hwaccel=job.hwaccel
    ) as demuxer:
        index = None
        if is_indexed(demuxer):
            table = read_table(demuxer.whole(), demuxer.stream, size=source.size)
            if table.trustworthy() and table.led():
                index = StreamIndex(table)
        else:
            table = read_table(demuxer.whole(), demuxer.stream, size=source.size, unindexed=True)
            if _saves_much(job, table):
                index = find_index(demuxer, table)
        planned = None if index is None else _decode_planned(job, demuxer, index)
        return _decode_sequentially(job, demuxer, table) if planned is None else planned


def _decode_a_part(job: DecodeJob) -> Decoded | None:
    """Decodes some clips of an MP4 file by its index, and reads no more packets than these need.

    None where the index is not enough, or a packet that was read holds something else.
    """
    place = media_range(job.source)
    if place is None:
        return None
    content = ContentWithHole(job.source.content)
    source = replace(job.source, content=content)
    with Demuxer(
        source, job.limits, progress=job.progress, mode=job.mode, hwaccel=job.hwaccel
    ) as demuxer:
        context = demuxer.stream.codec_context
        if not is_indexed(demuxer) or not nal.framing(context.name, context.extradata):
            return None  # the demuxer makes packets of others by their contents
        content.hole = place
        table = read_index(demuxer.from_start(), demuxer.stream, size=source.size)
        content.hole = None
        demuxer.open_again()  # since buffers may hold zeros
        if table is None or not table.trustworthy() or not table.led():
            return None
        return _decode_planned(job, demuxer, StreamIndex(table))


def is_indexed(demuxer: Demuxer) -> bool:
    """Whether the container has an index: timestamps identify frames, and seeks find them."""
    return not _INDEXED_FORMATS.isdisjoint(demuxer.container.format.name.split(","))


def _saves_much(job: DecodeJob, table: PacketTable) -> bool:
    """Whether a planned decode saves more than `find_index` costs."""
    if not table.trustworthy():
        return False
    wanted = select(table.times(), job.unit, job.protocol).wanted
    return share_to_decode(table, table.order()[wanted]) < _WORTH_PLANNING


def _decode_planned(job: DecodeJob, demuxer: Demuxer, index: StreamIndex) -> Decoded | None:
    """Decodes the packets that the wanted frames need; None where the result may be wrong."""
    table = index.table
    times, order = table.times(), table.order()
    moves = job.mode == "fast" and is_indexed(demuxer)
    selection = _selected(job, table, table.entries() if moves else None)
    store, packets = job.store(len(selection.wanted)), order[selection.wanted]
    if not decode_frames(demuxer, table, packets, store, starts_file=index.starts_file):
        return None
    damage = _damage(job, demuxer, table)
    damage.undecodable = index.undecodable
    duration_s = length_s(times, float(table.duration[order[-1]]) * table.tick_s, table.frame_s)
    return Decoded.of(selection, store.shape, times, duration_s, damage.lost(len(times)))


def _selected(job: DecodeJob, table: PacketTable, entries: Ints | None) -> Selection:
    """The frames of the clips that the unit asks for; those of all where that is few more.

    ``entries`` as in `select`.
    """
    times, order = table.times(), table.order()
    asked = select(times, job.unit, job.protocol, entries=entries)
    if job.unit.clips is None:
        return asked
    whole = select(times, replace(job.unit, clips=None), job.protocol, entries=entries)

    def cost(selection: Selection) -> int:
        packets = order[selection.wanted]
        return len(packets) + frames_to_decode(table.entry, table.pts, packets)

    return whole if cost(whole) - cost(asked) <= _FEW_FRAMES else asked


def _damage(job: DecodeJob, demuxer: Demuxer, table: PacketTable) -> Damage:
    """What is missing at the end of the file, known before anything is decoded."""
    return Damage(table.cut, ending(job.source, demuxer.stream, frame_s=table.frame_s))


@dataclass
class _Pass:
    """The result of one sequential decode: the time of every frame, and the damage."""

    times: Floats
    duration_s: float
    damage: Damage


def _decode_sequentially(job: DecodeJob, demuxer: Demuxer, table: PacketTable) -> Decoded:
    """Decodes the whole video, for all clips whichever the unit asks for; again if it has other
    frames than the packets had suggested.
    """
    expected, unit = table.times(), replace(job.unit, clips=None)
    for _ in range(3):
        selection = select(expected, unit, job.protocol) if len(expected) else None
        store = job.store(len(selection.wanted)) if selection is not None else None
        wanted = selection.wanted.tolist() if selection is not None else []
        demuxer.expect(len(table.pts))
        done = _decode_all(job, demuxer, table, store, {i: row for row, i in enumerate(wanted)})
        lost = done.damage.lost(len(done.times))
        actual = select(done.times, unit, job.protocol)
        right = selection is not None and np.array_equal(actual.clips, selection.clips)
        if store is not None and right and store.complete:
            return Decoded.of(actual, store.shape, done.times, done.duration_s, lost)
        expected = done.times
    raise UnitFailure(
        ErrorType.corrupt, "repeated decodes of this file give different numbers of frames"
    )


def _decode_all(
    job: DecodeJob,
    demuxer: Demuxer,
    table: PacketTable,
    store: FrameStore | None,
    row_of: Mapping[int, int],
) -> _Pass:
    converter, damage = RgbConverter(), _damage(job, demuxer, table)
    ticks: list[int | None] = []
    last = 0
    for packet in with_flush(demuxer.afresh()):
        try:
            frames = demuxer.stream.decode(packet)
        except MemoryError:
            raise
        except av.error.FFmpegError:
            damage.refused += 1
            continue
        for frame in frames:
            damage.patched += frame.is_corrupt
            if store is not None and len(ticks) in row_of:
                store.place(row_of[len(ticks)], converter.rgb(frame))
            ticks.append(frame.pts)
            last = frame.duration or 0
    if not ticks:
        raise nothing_decoded(job.source, demuxer.stream, packets=len(table.pts))
    before_keyframe = int(np.argmax(table.keyframe)) if table.keyframe.any() else 0
    damage.undecodable = max(0, min(before_keyframe, int(table.shown.sum()) - len(ticks)))
    damage.undecodable = max(0, damage.undecodable - damage.refused)
    times = _frame_times(ticks, table)
    return _Pass(times, length_s(times, last * table.tick_s, table.frame_s), damage)


def _frame_times(ticks: list[int | None], table: PacketTable) -> Floats:
    """Seconds since the first frame; from the frame rate where timestamps are unusable."""
    ranks = table.ranked(len(ticks))
    if ranks is not None:
        return seconds(ranks, table.tick_s, table.frame_s)
    if None in ticks:
        return np.arange(len(ticks), dtype=np.float64) * table.frame_s
    return seconds(np.array(ticks, dtype=np.int64), table.tick_s, table.frame_s)
