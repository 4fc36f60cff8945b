"""The decoder `decord`: decodes with decord where its frames are right, with PyAV elsewhere.

decord numbers frames in decoding order and timestamps in presentation order, seeks to whatever the
container calls a keyframe, and knows no recent color matrix. With open groups of pictures, packed
B-frames, a missing sync sample table, edit lists, or a container without timestamps it therefore
gives other frames than a sequential decode. PyAV first reads the packets of every file. Files of
these kinds, and files of which decord counts or times the frames differently from their packets,
are decoded with PyAV.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from workers.decoding import codecs, colors, pyav
from workers.decoding.container import decoding_bytes
from workers.decoding.damage import Damage
from workers.decoding.demuxer import Demuxer
from workers.decoding.endings import ending
from workers.decoding.job import DecodeJob
from workers.decoding.packets import read_table
from workers.decoding.plan import Floats, PacketTable, length_s, select
from workers.decoding.result import Decoded
from workers.failures import ErrorType, UnitFailure
from workers.io.content import Source

_CODECS = ("h264", "hevc", "vp8", "vp9")  # no AV1; other rounding for older codecs
_MOST_BITS = 8  # other rounding of colors for deeper pictures
_PROGRESSIVE = 1  # other interpolation of colors for interlaced video
_SAME_TIME_S = 0.001
_MOST_BYTES = 128 << 20  # larger files do not fit beside their frames into a child's memory
_MEMORY = 2  # decord holds more frames than FFmpeg's decoders alone
_AT_ONCE = 8  # full-size frames held at a time
_REASONS = {
    "duplicate frames": "the file is damaged, or has fewer frames than decord counted",
    "av_read_frame": "a packet could not be read",
    "avcodec_send_packet": "a packet could not be decoded",
    "avcodec_receive_frame": "a packet could not be decoded",
    "find_stream_info": "the file's header could not be read",
}


def require() -> None:
    """Raises ImportError with advice unless decord can be imported."""
    try:
        import decord  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f"--decoder decord needs the package decord ({error}), which is installed on Linux on "
            f"x86-64 alone; this machine is {platform.system()} on {platform.machine()}. "
            f"Use --decoder pyav"
        ) from error


def decode(job: DecodeJob) -> Decoded:
    """Decodes the frames that the job's protocol takes from its unit; raises UnitFailure."""
    source = job.source
    with Demuxer(source, job.limits, progress=job.progress) as demuxer:
        table = read_table(demuxer.whole(), demuxer.stream, size=source.size)
        suited = _is_suited(demuxer, table)
        damage = Damage(table.cut, ending(source, demuxer.stream, frame_s=table.frame_s))
        if suited:
            demuxer.expect(len(table.pts))
            job.progress.reserve(_MEMORY * decoding_bytes(demuxer.stream.codec_context))
    decoded = _decode(job, table, damage) if suited else None
    return pyav.decode(job) if decoded is None else decoded


def _is_suited(demuxer: Demuxer, table: PacketTable) -> bool:
    """Whether decord numbers the frames of such a file as a sequential decode does."""
    if demuxer.size > _MOST_BYTES:
        return False
    context = demuxer.stream.codec_context
    if not codecs.are_usual(demuxer.container):
        return False  # decord opens decoders of all streams, of sound too
    if context.name not in _CODECS or context.format is None:
        return False
    if int(context.field_order) > _PROGRESSIVE:
        return False
    if max(component.bits for component in context.format.components) > _MOST_BITS:
        return False
    return (
        pyav.is_indexed(demuxer)
        and table.trustworthy()
        and bool(table.shown.all())
        and table.closed()
        and colors.is_plain(int(context.colorspace))
    )


def _decode(job: DecodeJob, table: PacketTable, damage: Damage) -> Decoded | None:
    """Decodes with decord; None where it counts or times frames differently from their packets."""
    with _reader(job.source) as reader:
        times, expected = _times(reader), table.times()
        if len(times) != len(expected) or np.abs(times - expected).max() > _SAME_TIME_S:
            return None
        selection = select(expected, job.unit, job.protocol)
        store = job.store(len(selection.wanted))
        for at in range(0, len(selection.wanted), _AT_ONCE):
            batch = reader.get_batch(selection.wanted[at : at + _AT_ONCE]).asnumpy()
            for row, rgb in enumerate(batch, start=at):
                store.place(row, rgb)
            job.progress.alive()
    lost = damage.lost(len(expected))
    last_s = float(table.duration[table.order()[-1]]) * table.tick_s
    duration_s = length_s(expected, last_s, table.frame_s)
    return Decoded.of(selection, store.shape, expected, duration_s, lost)


@contextmanager
def _reader(source: Source) -> Iterator[Any]:
    """A reader that decodes on one thread and stops at the first damage.

    It holds the file in memory: decord takes paths or whole files, and a sandboxed process can open
    no path.
    """
    import decord

    decord.logging.set_level(decord.logging.QUIET)
    reader = None
    try:
        reader = decord.VideoReader(source.opened(), ctx=decord.cpu(0), num_threads=1, fault_tol=1)
        yield reader
    except (decord.DECORDError, decord.DECORDLimitReachedError, RuntimeError) as error:
        if "bad_alloc" in str(error):
            raise MemoryError from None
        raise UnitFailure(
            ErrorType.corrupt, f"decord cannot decode this file: {_reason(error)}"
        ) from None
    finally:
        del reader


def _times(reader: Any) -> Floats:
    """Seconds of each frame since the first."""
    count = len(reader)
    if not count:
        raise UnitFailure(ErrorType.corrupt, "decord finds no frame")
    spans = np.asarray(reader.get_frame_timestamp(range(count)), dtype=np.float64)
    starts = spans.reshape(count, 2)[:, 0]
    return np.asarray(starts - starts[0], dtype=np.float64)


def _reason(error: Exception) -> str:
    """The reason in words: decord's own messages name source files and stack frames."""
    text = str(error)
    for sign, words in _REASONS.items():
        if sign in text:
            return words
    return f"decoding failed with {type(error).__name__}"
