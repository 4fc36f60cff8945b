"""Labels of decoded units, from every view of each, in static batches across units."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from workers.inference.engine import MAX_IN_FLIGHT, Engine
from workers.inference.labeler_config import LabelerConfig, default_batch
from workers.inference.masks import pack_mask, unpack_mask
from workers.inference.streams import Stream
from workers.inference.views import EvaluatedViews, Frames, IdMismatch, View
from workers.sampling import Protocol

__all__ = [
    "EvaluatedViews",
    "Frames",
    "IdMismatch",
    "Labeler",
    "LabelerConfig",
    "View",
    "default_batch",
    "pack_mask",
    "unpack_mask",
]


@dataclass(frozen=True)
class _WaitingUnit:
    """A unit with views that were not collected yet, the number of its first view, and the numbers
    of its clips.
    """

    first: int
    count: int
    clips: tuple[int, ...]
    views: list[View]


class Labeler:
    """A model on a device that evaluates all views of units.

    Args:
        config: model, pruning and batch size.
        protocol: how videos become views.
        views_per_load: views of a unit that are usually loaded together; None for all of them.
        streams: as `Engine` takes them.

    Attributes:
        engine: the model and its batches.
        model: the model.
        batch_size: views per forward pass.
        waited_s: time spent without anything to compute, until further clips were decoded.
    """

    def __init__(
        self,
        config: LabelerConfig,
        protocol: Protocol,
        *,
        views_per_load: int | None = None,
        streams: tuple[Stream, Stream | None] | None = None,
    ) -> None:
        self.engine = Engine(
            config, protocol, views_per_load=views_per_load or protocol.views, streams=streams
        )
        self.model, self.batch_size = self.engine.model, self.engine.batch_size
        self.protocol = protocol
        self.waited_s = 0.0
        self._is_busy = False
        self._waiting: deque[_WaitingUnit] = deque()

    def label(self, units: Iterable[Frames]) -> list[EvaluatedViews]:
        """The result of `stream` as a list."""
        return list(self.stream(units))

    def stream(self, units: Iterable[Frames]) -> Iterator[EvaluatedViews]:
        """Evaluates units, one stream at a time.

        A unit has as many views as it has clips, times the protocol's crops. Views of all units
        share batches of one static shape; the last batch is padded and the results of the padding
        are discarded. While the caller works on a unit's views, the device computes the next batch.

        Yields:
            The views of each unit, in the order of the units.

        Raises:
            IdMismatch: a batch did not return the ids that it was given.
        """
        if self._is_busy:
            raise RuntimeError("a labeler takes one stream of units at a time: finish the first")
        self._is_busy = True
        try:
            yield from self._evaluate(iter(units))
        finally:
            # Also after an error, or when the caller stops early.
            self.engine.reset()
            self._clear()
            self._is_busy = False

    def _evaluate(self, units: Iterator[Frames]) -> Iterator[EvaluatedViews]:
        for unit in units:
            self._add(unit)
            yield from self._finished()
        if self.engine.filled:
            self._submit()
        while self.engine.in_flight:
            self._collect()
        yield from self._finished()

    def _clear(self) -> None:
        """Forgets all units."""
        self._waiting.clear()

    def _add(self, unit: Frames) -> None:
        """Loads a unit's frames and submits the batches that its views complete."""
        count = len(unit.clip_frames) * self.protocol.crops
        loaded, first = self.engine.load(unit, count)
        self._waiting.append(_WaitingUnit(first, count, unit.numbers, []))
        origins = self.protocol.crop_origins(*unit.pixels.shape[1:3])
        done = 0
        while done < count:
            done += self.engine.fill(loaded, origins, done)
            if self.engine.is_full:
                self._submit()

    def _submit(self) -> None:
        """Submits the batch, then collects the one before, which is done or nearly so."""
        self.engine.submit()
        while self.engine.in_flight >= MAX_IN_FLIGHT:
            self._collect()

    def _collect(self) -> None:
        """Gives the results of the oldest batch in flight to the units that they belong to."""
        result = self.engine.collect()
        units = iter(self._waiting)
        unit = next(units)
        for row in range(len(result)):
            while result.first + row >= unit.first + unit.count:
                unit = next(units)
            clip, crop = divmod(result.first + row - unit.first, self.protocol.crops)
            number = unit.clips[clip]
            unit.views.append(result.view(row, clip=number, crop=crop, sharing=len(result)))

    def _finished(self) -> Iterator[EvaluatedViews]:
        while self._waiting and len(self._waiting[0].views) == self._waiting[0].count:
            yield EvaluatedViews(self._waiting.popleft().views)
