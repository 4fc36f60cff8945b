"""The decoder pool's actor: rows of the manifest in, decoded rows out, one for one.

With early exit it decodes the clips that are evaluated first; a labeler that needs more asks for
them by rows of FURTHER_SCHEMA, which name the clips.

It is a plain class that runs without Ray. It must not import torch, which would cost every decoder
some 340 MB of memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from workers.actor_stats import DECODE, ActorTotals, StageName
from workers.decoding import DECODE_MODES, DecodedUnit, DecodeLimits, SandboxedDecoder, Unit
from workers.failures import ErrorType, UnitFailure
from workers.file_history import FileCost, FileHistory, Files
from workers.inference.unpruned_sample import in_sample
from workers.sampling import Protocol
from workers.schema import DECODED_SCHEMA, IDENTITY

_IDENTITY = [field.name for field in IDENTITY]
_UNIT = ("unit_id", "video_id", "uri", "part", "start_s", "end_s")


@dataclass(frozen=True)
class FirstClips:
    """Clips that are decoded before a labeler has asked for others.

    Attributes:
        clips: their numbers, ascending.
        whole_share: share of the units that are in the shadow sample, which needs all clips.
    """

    clips: tuple[int, ...]
    whole_share: float = 0.0

    def of(self, unit_id: str) -> tuple[int, ...] | None:
        """Numbers of a unit's first clips; None for all."""
        if self.whole_share and in_sample(unit_id, self.whole_share):
            return None
        return self.clips

    def mean(self, clips: int) -> float:
        """Clips per unit on average, of a protocol of so many."""
        return self.whole_share * clips + (1 - self.whole_share) * len(self.clips)


class DecodeActor:
    """Turns rows of the manifest into decoded rows, with one sandboxed decoder.

    Args:
        protocol: which frames are decoded, and to which size.
        decoder: one of `workers.decoding.types.DECODERS`.
        limits: limits of time, memory and size for a unit.
        accept_changed: whether an object is decoded although its ETag differs from that in the
            manifest's column ``etag``; otherwise the unit fails as ``changed``.
        files: what the files of the run have cost so far; None to count for this actor alone.
        mode: "exact" or "fast", as in SandboxedDecoder.
        first: the clips to decode of units whose row names none; None for all.
    """

    stage: ClassVar[StageName] = DECODE
    device = ""

    def __init__(
        self,
        protocol: Protocol,
        decoder: str = "pyav",
        limits: DecodeLimits | None = None,
        *,
        accept_changed: bool = False,
        files: Files | None = None,
        mode: str = DECODE_MODES[0],
        first: FirstClips | None = None,
    ) -> None:
        self._first = first
        self._limits = limits or DecodeLimits()
        self._files = files or FileHistory()
        self._accept_changed = accept_changed
        self._decoder = SandboxedDecoder(protocol, decoder=decoder, limits=self._limits, mode=mode)
        self._decode_s = 0.0

    @property
    def totals(self) -> ActorTotals:
        """CPU time of the child processes so far."""
        return ActorTotals(child_cpu_s=self._decode_s)

    @property
    def missing(self) -> tuple[str, ...]:
        """Parts of the sandbox that the kernel of this machine lacks."""
        return self._decoder.missing

    @property
    def child_pid(self) -> int | None:
        """Process id of the decoder's current child."""
        return self._decoder.child_pid

    def close(self) -> None:
        """Ends the child; the actor cannot be called after that."""
        self._decoder.close()

    def __call__(self, manifest: pa.Table) -> Iterator[pa.Table]:
        """One table of one row (DECODED_SCHEMA) for each row, as soon as it is decoded.

        With one row a table, this process holds the frames of one unit at a time.
        """
        for entry in manifest.to_pylist():
            row = {name: entry.get(name) for name in _IDENTITY if name != "ground_truth"}
            row["ground_truth"] = entry["ground_truth"]
            unit = self._unit(entry)
            outcome = self._decoded(unit, row["size_bytes"])
            self._decode_s += outcome.decode_ms / 1e3
            yield _decoded_table(row, outcome)

    def _unit(self, entry: dict[str, Any]) -> Unit:
        """The unit of a row, and the clips of it to decode."""
        etag, clips = entry.get("etag"), entry.get("clips")
        if clips is None:
            etag = None if self._accept_changed else etag
            clips = None if self._first is None else self._first.of(entry["unit_id"])
        return Unit(
            **{name: entry[name] for name in _UNIT if name in entry},
            etag=etag,
            clips=None if clips is None else tuple(clips),
        )

    def _decoded(self, unit: Unit, size_bytes: int | None) -> DecodedUnit | UnitFailure:
        """The unit's outcome, unless its file has cost too much already."""
        quick = self._limits.quick
        spent = self._files.begin(unit.unit_id, unit.file)
        refusal = spent.refusal(self._limits, size_bytes)
        if refusal is not None:
            self._files.end(unit.unit_id, unit.file, FileCost())
            return refusal
        outcome = self._decoder.decode(unit)
        self._files.end(unit.unit_id, unit.file, FileCost.of(unit, outcome, quick=quick))
        return _settled(outcome, quick=quick)


def _settled(outcome: DecodedUnit | UnitFailure, *, quick: bool) -> DecodedUnit | UnitFailure:
    """The outcome with ``deferred`` for what a quick attempt did not finish, and for nothing else.

    A child that a file has taken over must not put off the end of the run.
    """
    if isinstance(outcome, UnitFailure):
        if quick and outcome.error_type is ErrorType.timeout:
            outcome.error_type = ErrorType.deferred
        elif not quick and outcome.error_type is ErrorType.deferred:
            outcome.error_type = ErrorType.crashed
    return outcome


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
        "decoded_clips": len(outcome.clip_frames),
        "clips": outcome.clips,
    }
    table = pa.Table.from_pylist([columns], schema=DECODED_SCHEMA)
    index = DECODED_SCHEMA.get_field_index("frames")
    return table.set_column(index, DECODED_SCHEMA.field(index), _one_binary(outcome.frames))


def _one_binary(pixels: np.ndarray) -> pa.Array:
    """An array of one large binary value that shares the pixels' memory."""
    offsets = pa.py_buffer(np.array([0, pixels.nbytes], dtype=np.int64))
    data = pa.py_buffer(np.ascontiguousarray(pixels).reshape(-1))
    return pa.Array.from_buffers(pa.large_binary(), 1, [None, offsets, data])
