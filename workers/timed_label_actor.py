"""A labeler with a clock; a room of its own, since decoders must not import torch."""

from __future__ import annotations

import time
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from workers.actor_stats import LABEL, Clock, Listener
from workers.label_actor import LabelActor


class TimedLabelActor(LabelActor):
    """A `LabelActor` that tells ``listener`` after each batch what it did."""

    def __init__(self, listener: Listener, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._clock = Clock(LABEL, listener, device=self.device)

    def __call__(self, decoded: pa.Table) -> pa.Table:
        """As `LabelActor` does."""
        began, launches = time.time(), self.launches
        labeled = super().__call__(decoded)
        self._clock.add(began, len(labeled))
        views = pc.sum(pc.list_value_length(labeled["views"]), min_count=0).as_py()
        slots = (self.launches - launches) * self._labeler.batch_size
        self._clock.report(views=views, slots=slots)
        return labeled
