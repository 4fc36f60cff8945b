"""Decoding with decord, kept as the second choice, where it gives the frames that it should.

decord numbers frames by decoding order and timestamps by presentation order, seeks to whatever the
container calls a keyframe, and knows no color matrix that is younger than it is. So open groups of
pictures, packed B-frames, a missing sync sample table, edit lists and containers without timestamps
give other frames than a sequential decode. Every file is opened and its packets are read by PyAV
first; the files that are of such a kind, and those that decord counts or times otherwise than their
packets, are decoded by PyAV.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from workers.decoding import colors, pyav
from workers.decoding.damage import Damage
from workers.decoding.demuxer import Reading
from workers.decoding.endings import ending
from workers.decoding.frames import Allocate, FrameStore
from workers.decoding.packets import read_table
from workers.decoding.plan import Floats, PacketTable, length_s, select
from workers.decoding.progress import Progress
from workers.decoding.result import Decoded
from workers.decoding.types import DecodeLimits, Unit
from workers.failures import ErrorType, UnitFailure
from workers.io.fetching import Source
from workers.sampling import Protocol

_CODECS = ("h264", "hevc", "vp8", "vp9")  # it has no AV1, and rounds older codecs otherwise
_MOST_BITS = 8  # of a deeper picture it rounds the colors otherwise
_PROGRESSIVE = 1  # of fields it interpolates the colors otherwise
_SAME_TIME_S = 0.001
_AT_ONCE = 8  # full-size frames held at a time
_REASONS = {
    "duplicate frames": "it met damage, or could not find the frames that it had counted",
    "av_read_frame": "a packet could not be read",
    "avcodec_send_packet": "a packet could not be decoded",
    "avcodec_receive_frame": "a packet could not be decoded",
    "find_stream_info": "the file's header could not be read",
}


def require() -> None:
    """Raise ImportError with advice unless decord can be imported."""
    try:
        import decord  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "--decoder decord needs the package decord (pip install decord); pyav needs none"
        ) from error


@dataclass(frozen=True)
class _Job:
    source: Source
    unit: Unit
    protocol: Protocol
    limits: DecodeLimits
    allocate: Allocate
    progress: Progress


def decode(
    source: Source,
    unit: Unit,
    protocol: Protocol,
    limits: DecodeLimits,
    allocate: Allocate,
    *,
    progress: Progress | None = None,
) -> Decoded:
    """Decode the frames that ``protocol`` takes from ``unit``; raises UnitFailure."""
    job = _Job(source, unit, protocol, limits, allocate, progress or Progress())
    with Reading(source, max_pixels=limits.max_pixels, progress=job.progress) as reading:
        table = read_table(reading.whole(), reading.stream, size=source.size)
        suited = _is_suited(reading, table)
        damage = Damage(table.cut, ending(source, reading.stream, frame_s=table.frame_s))
        if suited:
            reading.expect(len(table.pts))
    decoded = _decode(job, table, damage) if suited else None
    if decoded is not None:
        return decoded
    return pyav.decode(source, unit, protocol, limits, allocate, progress=job.progress)


def _is_suited(reading: Reading, table: PacketTable) -> bool:
    """Whether decord numbers the frames of such a file as a sequential decode does."""
    context = reading.stream.codec_context
    if context.name not in _CODECS or context.format is None:
        return False
    if int(context.field_order) > _PROGRESSIVE:
        return False
    if max(component.bits for component in context.format.components) > _MOST_BITS:
        return False
    return (
        pyav.is_indexed(reading)
        and table.trustworthy()
        and bool(table.shown.all())
        and table.closed()
        and colors.is_plain(int(context.colorspace))
    )


def _decode(job: _Job, table: PacketTable, damage: Damage) -> Decoded | None:
    """By decord; None where it counts or times the frames otherwise than their packets."""
    with _reader(job.source.path) as reader:
        times, expected = _times(reader), table.times()
        if len(times) != len(expected) or np.abs(times - expected).max() > _SAME_TIME_S:
            return None
        selection = select(expected, job.unit, job.protocol)
        store = FrameStore(
            len(selection.wanted),
            job.protocol,
            job.allocate,
            output_bytes=job.limits.output_bytes,
        )
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
def _reader(path: str) -> Iterator[Any]:
    """A reader that decodes on one thread, stops at the first damage and is gone at the end."""
    import decord

    decord.logging.set_level(decord.logging.QUIET)
    reader = None
    try:
        reader = decord.VideoReader(path, ctx=decord.cpu(0), num_threads=1, fault_tol=1)
        yield reader
    except (decord.DECORDError, decord.DECORDLimitReachedError, RuntimeError) as error:
        if "bad_alloc" in str(error):
            raise MemoryError from None
        raise UnitFailure(ErrorType.corrupt, f"decord gave up: {_reason(error)}") from None
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
    """In words: decord's own messages are places in its source, paths and stacks."""
    text = str(error)
    for sign, words in _REASONS.items():
        if sign in text:
            return words
    return f"decoding failed with {type(error).__name__}"
