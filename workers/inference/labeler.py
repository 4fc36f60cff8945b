"""Labels for decoded units: every view of each, in static batches across videos."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from workers.inference.engine import DEFAULT_BATCH, READBACKS, Engine, LabelerConfig
from workers.inference.masks import pack_mask, unpack_mask
from workers.inference.streams import Lane
from workers.inference.views import Frames, IdMismatch, View
from workers.sampling import Protocol

__all__ = [
    "DEFAULT_BATCH",
    "TOP",
    "Frames",
    "IdMismatch",
    "Labeler",
    "LabelerConfig",
    "View",
    "pack_mask",
    "top_classes",
    "unpack_mask",
]

TOP = 5


@dataclass(frozen=True)
class _Unit:
    """A unit whose views are not all labeled yet, and the number of its first view."""

    first: int
    count: int
    views: list[View]


class Labeler:
    """A model on a device that labels units.

    Args:
        config: model, pruning and batch size.
        protocol: how videos become views.
        lanes: as `Engine` takes them.

    Attributes:
        engine: the model and its batches.
        model: the model.
        batch_size: views per forward pass.
    """

    def __init__(
        self,
        config: LabelerConfig,
        protocol: Protocol,
        *,
        lanes: tuple[Lane, Lane | None] | None = None,
    ) -> None:
        self.engine = Engine(config, protocol, views_per_load=protocol.views, lanes=lanes)
        self.model, self.batch_size = self.engine.model, self.engine.batch_size
        self.protocol = protocol
        self._waiting: deque[_Unit] = deque()

    def label(self, units: Sequence[Frames]) -> list[list[View]]:
        """Labels every view of every unit.

        Returns:
            For each unit, in the order given, its views, clip by clip and crop by crop.

        Raises:
            IdMismatch: a batch did not return the ids that it was given.
        """
        return list(self.stream(units))

    def stream(self, units: Iterable[Frames]) -> Iterator[list[View]]:
        """Labels units one after the other, one stream at a time.

        A unit has as many views as it has clips, times the protocol's crops. Views of all units run
        in batches of one static shape; the last batch is filled up with padding, whose results are
        thrown away. What the caller does with a unit's views is done while the device computes the
        next batch.

        Yields:
            For each unit, in the order given, its views, clip by clip and crop by crop.

        Raises:
            IdMismatch: a batch did not return the ids that it was given.
        """
        if self._waiting or self.engine.flying:
            raise RuntimeError("a labeler labels one stream of units at a time")
        try:
            for unit in units:
                self._enter(unit)
                yield from self._finished()
            self._flush()
            yield from self._finished()
        finally:
            self._abandon()

    def _enter(self, unit: Frames) -> None:
        """Sends a unit's frames on their way and launches the batches that they complete."""
        count = len(unit.clip_frames) * self.protocol.crops
        loaded, first = self.engine.load(unit, count)
        self._waiting.append(_Unit(first, count, []))
        origins = self.protocol.crop_origins(*unit.pixels.shape[1:3])
        taken = 0
        while taken < count:
            taken += self.engine.take(loaded, origins, taken)
            if self.engine.is_full:
                self._launch()

    def _launch(self) -> None:
        """Queues the batch and reads the one before it, which is done or about to be."""
        self.engine.launch()
        while self.engine.flying >= READBACKS:
            self._land()

    def _flush(self) -> None:
        """Launches what is left as a partial batch, and reads all."""
        if self.engine.filled:
            self._launch()
        while self.engine.flying:
            self._land()

    def _abandon(self) -> None:
        """Leaves nothing behind of a stream that ended, however it ended."""
        self.engine.abandon()
        self._waiting.clear()

    def _land(self) -> None:
        """Gives the results of the oldest batch to the units that they belong to."""
        landed = self.engine.land()
        units = iter(self._waiting)
        unit = next(units)
        for row in range(len(landed)):
            while landed.first + row >= unit.first + unit.count:
                unit = next(units)
            clip, crop = divmod(landed.first + row - unit.first, self.protocol.crops)
            unit.views.append(landed.view(row, clip=clip, crop=crop, sharing=len(landed)))

    def _finished(self) -> Iterator[list[View]]:
        while self._waiting and len(self._waiting[0].views) == self._waiting[0].count:
            yield self._waiting.popleft().views


def top_classes(
    probabilities: npt.NDArray[np.floating], count: int = TOP
) -> tuple[list[int], list[float]]:
    """Indices and probabilities of the most probable classes; ties go to the lower index."""
    order = np.argsort(-probabilities, kind="stable")[:count]
    return order.tolist(), probabilities[order].tolist()
