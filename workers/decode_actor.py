"""What the decoder pool runs: rows of the manifest in, decoded rows out, one for each.

It knows nothing of Ray and can be called, timed and tested by itself. It does not import torch,
which would cost every decoder some 340 MB.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from workers.decoding import DecodedUnit, DecodeLimits, SandboxedDecoder, Unit
from workers.failures import UnitFailure
from workers.sampling import Protocol
from workers.schema import DECODED_SCHEMA, IDENTITY

_IDENTITY = [field.name for field in IDENTITY]
_PLACE = ("unit_id", "video_id", "uri", "start_s", "end_s")


class DecodeActor:
    """Rows of the manifest to decoded rows, through one sandboxed decoder.

    An object whose ETag is not the one in the manifest's column ``etag`` (if it has one) fails as
    ``changed``, unless ``accept_changed``.
    """

    def __init__(
        self,
        protocol: Protocol,
        decoder: str = "pyav",
        limits: DecodeLimits | None = None,
        *,
        accept_changed: bool = False,
    ) -> None:
        self._accept_changed = accept_changed
        self._decoder = SandboxedDecoder(protocol, decoder=decoder, limits=limits or DecodeLimits())

    @property
    def child_pid(self) -> int | None:
        """Process id of the decoder's present child."""
        return self._decoder.child_pid

    def close(self) -> None:
        """Ends the child; the actor can do no more after that."""
        self._decoder.close()

    def __call__(self, manifest: pa.Table) -> Iterator[pa.Table]:
        """One table of one row (DECODED_SCHEMA) for each row, as soon as it is decoded.

        A row of its own keeps the memory of this process at one unit's frames.
        """
        for entry in manifest.to_pylist():
            row = {name: entry.get(name) for name in _IDENTITY if name != "ground_truth"}
            row["ground_truth"] = entry["label"]
            etag = None if self._accept_changed else entry.get("etag")
            unit = Unit(**{name: row[name] for name in _PLACE}, etag=etag)
            yield _decoded_table(row, self._decoder.decode(unit))


def _decoded_table(row: dict[str, Any], outcome: DecodedUnit | UnitFailure) -> pa.Table:
    if isinstance(outcome, UnitFailure):
        columns = row | {
            "status": "failed",
            "error_type": str(outcome.error_type),
            "error": outcome.message,
            "attempts": outcome.attempts,
            "decode_ms": outcome.decode_ms,
            "bytes_read": outcome.bytes_read,
        }
        return pa.Table.from_pylist([columns], schema=DECODED_SCHEMA)
    columns = row | {
        "status": "ok",
        "attempts": outcome.attempts,
        "decode_ms": outcome.decode_ms,
        "bytes_read": outcome.bytes_read,
        "etag": outcome.etag,
        "frame_count": outcome.frame_count,
        "lost_frames": outcome.lost_frames,
        "duration_s": outcome.duration_s,
        "frames_shape": list(outcome.frames.shape),
        "clip_frames": outcome.clip_frames.reshape(-1).tolist(),
        "first_clip": outcome.first_clip,
        "clip_times": outcome.clip_times.reshape(-1).tolist(),
    }
    table = pa.Table.from_pylist([columns], schema=DECODED_SCHEMA)
    place = DECODED_SCHEMA.get_field_index("frames")
    return table.set_column(place, DECODED_SCHEMA.field(place), _one_binary(outcome.frames))


def _one_binary(pixels: np.ndarray) -> pa.Array:
    """An array of one large binary value on the pixels' own memory, without a copy."""
    offsets = pa.py_buffer(np.array([0, pixels.nbytes], dtype=np.int64))
    data = pa.py_buffer(np.ascontiguousarray(pixels).reshape(-1))
    return pa.Array.from_buffers(pa.large_binary(), 1, [None, offsets, data])
