"""Labels from as few views as settle them: the views of a unit one after another, those of many
units together in static batches.

What a unit gets depends on its own frames alone. A batch has one shape whoever shares it; views are
judged in the order of `view_order`; and what was computed beyond the last of them is thrown away as
if it had never been.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from workers.inference.early_exit import EarlyExit, margin
from workers.inference.engine import READBACKS, Engine, LabelerConfig
from workers.inference.streams import Lane
from workers.inference.views import Frames, View
from workers.sampling import Protocol

# Frames that are one view already are cut from their corner.
_WHOLE = np.zeros((1, 2), dtype=np.int64)


@dataclass(frozen=True)
class Looks:
    """What was seen of a unit.

    Attributes:
        views: those that were looked at, clip by clip and crop by crop.
        margins: of the best class over the second after each of them, in the order in which they
            were evaluated; numbers of float32.
    """

    views: list[View]
    margins: list[float]


@dataclass(eq=False)
class _Unit:
    """A unit on its way.

    Attributes:
        frames: its pixels.
        origins: int64 (crops, 2), top and left of each crop.
        order: (clip, crop) of the views that may be looked at, in this order.
        of: views that it has.
        total: float64 (classes,), sum of the probabilities so far.
        views: what was seen, in that order.
        margins: after each of them.
        launched: views that the device was given.
        should_stop: whether it needs no further look.
    """

    frames: Frames
    origins: npt.NDArray[np.int64]
    order: list[tuple[int, int]]
    of: int
    total: npt.NDArray[np.float64]
    views: list[View] = field(default_factory=list)
    margins: list[float] = field(default_factory=list)
    launched: int = 0
    should_stop: bool = False

    @property
    def flying(self) -> int:
        """Views whose results are still to come."""
        return self.launched - len(self.margins)

    @property
    def has_more(self) -> bool:
        """Whether there is a view that the device was not given."""
        return self.launched < len(self.order)

    def see(self, probabilities: npt.NDArray[np.float32], early_exit: EarlyExit) -> None:
        """Takes in what the model says of the next view."""
        self.total += probabilities
        seen = len(self.margins) + 1
        self.margins.append(float(margin(self.total / seen)))
        self.should_stop = early_exit.should_stop(self.margins[-1], seen=seen, views=self.of)


class AdaptiveLabeler:
    """A model on a device that looks at a unit until its label is settled.

    A batch takes first the next view of every unit that waits for nothing: these are needed for
    sure. New units are begun only as far as such views do not fill it. When no units are left to
    begin, the rest of a batch goes to views that are needed if the unit is not settled before them.

    Args:
        config: model, pruning and batch size.
        protocol: how videos become views; no timeline, whose clips have labels of their own.
        policy: when a unit is settled.
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
        early_exit: EarlyExit,
        *,
        lanes: tuple[Lane, Lane | None] | None = None,
    ) -> None:
        if protocol.every_s is not None:
            raise ValueError("the clips of a timeline have labels of their own: all are looked at")
        self.engine = Engine(config, protocol, views_per_load=1, lanes=lanes)
        self.model, self.batch_size = self.engine.model, self.engine.batch_size
        self.protocol, self.early_exit = protocol, early_exit
        # Results of a device that computes at once are there to be read, and may spare views.
        self._ahead = READBACKS if self.engine.is_late else 1
        self._open: list[_Unit] = []
        self._waiting: deque[_Unit] = deque()
        self._batches: deque[list[_Unit]] = deque()

    def stream(self, units: Iterable[Frames]) -> Iterator[Looks]:
        """Looks at units, one stream at a time.

        Yields:
            What was seen of each unit, in the order given.

        Raises:
            IdMismatch: a batch did not return the ids that it was given.
        """
        if self._waiting:
            raise RuntimeError("a labeler labels one stream of units at a time")
        coming = iter(units)
        try:
            while True:
                self._begin(coming)
                if not self._open:
                    return
                self._work()
                yield from self._finished()
        finally:
            self._abandon()

    def _begin(self, coming: Iterator[Frames]) -> None:
        """Begins units until the views that are needed for sure fill a batch, if there are so many
        units.
        """
        sure = sum(not unit.flying for unit in self._open)
        while sure < self.batch_size and (frames := next(coming, None)) is not None:
            order = self.protocol.views_in_order
            unit = _Unit(
                frames=frames,
                origins=self.protocol.crop_origins(*frames.pixels.shape[1:3]),
                order=order[: self.early_exit.max_views],
                of=len(order),
                total=np.zeros(self.model.head.out_features),
            )
            self._open.append(unit)
            self._waiting.append(unit)
            sure += 1

    def _work(self) -> None:
        """Gives the device a batch if that is worth it, or reads one."""
        sure = [unit for unit in self._open if not unit.flying]
        # What a batch on its way settles need not be guessed at by most of another one.
        if self.engine.flying and 2 * len(sure) < self.batch_size:
            self._land()
            return
        self._fill(sure)
        self.engine.launch()
        while self.engine.flying >= self._ahead:
            self._land()

    def _fill(self, sure: list[_Unit]) -> None:
        """Fills the batch: with views that are needed for sure, then with those that may be, first
        those that hang on the fewest others.
        """
        self._batches.append([])
        for unit in sure:
            self._take(unit)
        more = [(u.flying, place) for place, u in enumerate(self._open) if u.has_more]
        heapq.heapify(more)
        while more and not self.engine.is_full:
            _, place = heapq.heappop(more)
            unit = self._open[place]
            self._take(unit)
            if unit.has_more:
                heapq.heappush(more, (unit.flying, place))

    def _take(self, unit: _Unit) -> None:
        """Puts a unit's next view into the batch, as frames of its own: only it is transferred."""
        clip, crop = unit.order[unit.launched]
        top, left = unit.origins[crop].tolist()
        size, rows = self.protocol.size, unit.frames.clip_frames[clip]
        pixels = np.take(unit.frames.pixels[:, top : top + size, left : left + size], rows, axis=0)
        alone = Frames(unit.frames.unit_id, pixels, np.arange(len(rows), dtype=np.int32)[None])
        loaded, _ = self.engine.load(alone, 1)
        self.engine.take(loaded, _WHOLE)
        unit.launched += 1
        self._batches[-1].append(unit)

    def _land(self) -> None:
        """Gives the results of the oldest batch to the units that still want them, which share its
        device time.
        """
        landed = self.engine.land()
        used = []
        for row, unit in enumerate(self._batches.popleft()):
            if not unit.should_stop:
                used.append((row, unit, unit.order[len(unit.margins)]))
                unit.see(landed.probabilities[row], self.early_exit)
        for row, unit, (clip, crop) in used:
            unit.views.append(landed.view(row, clip=clip, crop=crop, sharing=len(used)))
        self._open = [unit for unit in self._open if not unit.should_stop]

    def _finished(self) -> Iterator[Looks]:
        while self._waiting and self._waiting[0].should_stop:
            unit = self._waiting.popleft()
            yield Looks(sorted(unit.views, key=lambda view: (view.clip, view.crop)), unit.margins)

    def _abandon(self) -> None:
        """Leaves nothing behind of a stream that ended, however it ended."""
        self.engine.abandon()
        for units in (self._open, self._waiting, self._batches):
            units.clear()
