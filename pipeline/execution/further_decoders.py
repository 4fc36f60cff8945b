"""Decoders of further clips: actors beside the graph, which labelers ask directly.

With early exit the graph's decoders decode the first clip of each video. What else a labeler needs
it asks these actors for, and the frames come through the object store, past the driver. The driver
owns the actors, so they end with it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import random
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import ray

from workers.actor_stats import Listener, WorkReport, timed
from workers.decode_actor import DecodeActor
from workers.further_clips import further_request


class FurtherDecoder:
    """A `DecodeActor` that answers one request at a time.

    Its reports count time and no units: each unit is counted where its first clip is decoded.

    Args:
        listener: called with each report of its work.
        args: arguments of the `DecodeActor`.
        settings: its keyword arguments.
    """

    def __init__(self, listener: Listener, *args: Any, **settings: Any) -> None:
        def without_units(report: WorkReport) -> None:
            listener(dataclasses.replace(report, units=0))

        self._actor = timed(DecodeActor)(without_units, *args, **settings)

    def decode(self, request: pa.Table) -> pa.Table:
        """One row of DECODED_SCHEMA for one row of FURTHER_SCHEMA."""
        return pa.concat_tables(self._actor(request))


class FurtherDecoders:
    """Several of them, as a `FurtherClips` of a labeler: each request goes to the one that has the
    fewest of this labeler's.
    """

    def __init__(self, actors: Sequence[Any]) -> None:
        self._actors = list(actors)
        self._waiting = [0] * len(self._actors)

    def request(self, row: Mapping[str, Any], clips: tuple[int, ...]) -> Future[pa.Table]:
        """As in FurtherClips."""
        # Other labelers ask too, so that of equal ones not always the first is taken.
        number = min(range(len(self._actors)), key=lambda at: (self._waiting[at], random.random()))
        self._waiting[number] += 1
        ref = self._actors[number].decode.remote(further_request(row, clips))
        answer: Future[pa.Table] = ref.future()

        def answered(_: Future[pa.Table]) -> None:
            with _LOCK:
                self._waiting[number] -= 1

        answer.add_done_callback(answered)
        return answer


_LOCK = threading.Lock()


@contextmanager
def further_decoders(
    count: int, *args: Any, reserve: Mapping[str, Any], **settings: Any
) -> Iterator[FurtherDecoders]:
    """So many decoders, until the block ends.

    An actor that dies is started again, on another node if need be, and gets its requests again.

    Args:
        count: how many.
        args: arguments of `FurtherDecoder`.
        reserve: what Ray reserves for each, and where it runs.
        settings: keyword arguments of `FurtherDecoder`.
    """
    remote = ray.remote(FurtherDecoder).options(
        max_restarts=-1, max_task_retries=-1, scheduling_strategy="SPREAD", **reserve
    )
    actors = [remote.remote(*args, **settings) for _ in range(count)]
    try:
        yield FurtherDecoders(actors)
    finally:
        with contextlib.suppress(ray.exceptions.RayError):  # they end with the driver anyway
            for actor in actors:
                ray.kill(actor)
