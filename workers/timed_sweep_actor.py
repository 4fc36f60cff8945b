"""A trial actor with a clock."""

from __future__ import annotations

import time
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from workers.actor_stats import LABEL, Clock, Listener
from workers.sweep_actor import SweepActor


class TimedTrialActor(SweepActor):
    """A `SweepActor` that tells ``listener`` after each batch what it did."""

    def __init__(self, listener: Listener, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._clock = Clock(LABEL, listener, device=self.device)

    def __call__(self, decoded: pa.Table) -> pa.Table:
        """As `SweepActor` does."""
        began = time.time()
        tried = super().__call__(decoded)
        self._clock.add(began, len(tried))
        views = self.views * pc.sum(pc.equal(tried["status"], "ok"), min_count=0).as_py()
        slots = -(-views // self.batch_size) * self.batch_size
        self._clock.report(views=views * self.variants, slots=slots * self.variants)
        return tried
