"""Clips that are decoded only when early exit asks for them: the source of them, `FurtherClips`.

A decoder first decodes the clip that early exit evaluates first. A labeler whose margin asks for
more requests further clips from a source: decoders of a pool of their own in a run
(`pipeline.execution.further_decoders`), or a `DecodeActor` in the same process.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any, Protocol

import pyarrow as pa

from workers.decode_actor import DecodeActor
from workers.schema import FURTHER_SCHEMA


class FurtherClips(Protocol):
    """Decodes clips of units that a labeler has other clips of."""

    def request(self, row: Mapping[str, Any], clips: tuple[int, ...]) -> Future[pa.Table]:
        """Begins to decode these clips of a decoded row's unit; does not wait.

        Returns:
            One row of DECODED_SCHEMA, with these clips or more, or with the reason of a failure.
        """


def further_request(row: Mapping[str, Any], clips: tuple[int, ...]) -> pa.Table:
    """One row of FURTHER_SCHEMA, which a `DecodeActor` takes, for a row that was decoded in part.

    The ETag is that of the object that was read, so that all clips are of the same version.
    """
    return pa.Table.from_pylist([dict(row) | {"clips": clips}], schema=FURTHER_SCHEMA)


class LocalFurtherClips:
    """Decodes at once, in the process of the labeler."""

    def __init__(self, actor: DecodeActor) -> None:
        self._actor = actor

    def request(self, row: Mapping[str, Any], clips: tuple[int, ...]) -> Future[pa.Table]:
        """As in FurtherClips."""
        answer: Future[pa.Table] = Future()
        (decoded,) = self._actor(further_request(row, clips))
        answer.set_result(decoded)
        return answer
