"""Decoding with decord: for closed groups of pictures the same frames, kept as the second choice.

decord numbers frames by decoding order and timestamps by presentation order, so that open groups of
pictures, B-frames in AVI and edit lists give other frames than a sequential decode. Every file is
opened by PyAV first: playlists, encrypted and oversized files are refused the same way.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from workers.decoding.damage import Damage
from workers.decoding.decoded import Decoded
from workers.decoding.frames import Allocate, FrameStore
from workers.decoding.opening import cut_share, nothing_decoded, opened_video
from workers.decoding.plan import Floats, select
from workers.decoding.units import DecodeLimits, Unit
from workers.failures import ErrorType, UnitFailure
from workers.fetching import Source
from workers.sampling import Protocol

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


def decode(
    source: Source, unit: Unit, protocol: Protocol, limits: DecodeLimits, allocate: Allocate
) -> Decoded:
    """Decode the frames that ``protocol`` takes from ``unit``; raises UnitFailure."""
    with opened_video(source, max_pixels=limits.max_pixels) as (_, stream):
        codec = stream.codec_context.name
        if codec in ("libdav1d", "libaom-av1", "av1"):
            raise UnitFailure(ErrorType.unsupported_codec, "decord does not decode AV1; pyav does")
        if not stream.codec_context.pix_fmt:
            raise nothing_decoded(source, stream, packets=0)
    with _reader(source.path) as reader:
        times, duration_s = _times(reader)
        selection = select(times, unit, protocol)
        store = FrameStore(
            len(selection.wanted), protocol, allocate, output_bytes=limits.output_bytes
        )
        for at in range(0, len(selection.wanted), _AT_ONCE):
            batch = reader.get_batch(selection.wanted[at : at + _AT_ONCE]).asnumpy()
            for row, rgb in enumerate(batch, start=at):
                store.place(row, rgb)
    lost = Damage(share=cut_share(source)).lost(len(times))
    return Decoded.of(selection, store.shape, times, duration_s, lost)


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


def _times(reader: Any) -> tuple[Floats, float]:
    """(seconds of each frame since the first, seconds of the whole)."""
    count = len(reader)
    if not count:
        raise UnitFailure(ErrorType.corrupt, "decord finds no frame")
    spans = np.asarray(reader.get_frame_timestamp(range(count)), dtype=np.float64)
    spans = spans.reshape(count, 2)
    return spans[:, 0] - spans[0, 0], float(spans[-1, 1] - spans[0, 0])


def _reason(error: Exception) -> str:
    """In words: decord's own messages are places in its source, paths and stacks."""
    text = str(error)
    for sign, words in _REASONS.items():
        if sign in text:
            return words
    return f"decoding failed with {type(error).__name__}"
