"""A decoder with a clock."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from workers.actor_stats import DECODE, Clock, Listener
from workers.decode_actor import DecodeActor


class TimedDecodeActor(DecodeActor):
    """A `DecodeActor` that tells ``listener`` what it did, about once a second."""

    def __init__(self, listener: Listener, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._clock = Clock(DECODE, listener)

    def __call__(self, manifest: pa.Table) -> Iterator[pa.Table]:
        """As `DecodeActor` does."""
        rows = super().__call__(manifest)
        while True:
            began = time.time()
            row = next(rows, None)
            if row is None:
                break
            self._clock.add(began, 1, child_cpu_s=(row["decode_ms"][0].as_py() or 0.0) / 1e3)
            if self._clock.is_due:
                self._clock.report()
            yield row
        self._clock.report()
