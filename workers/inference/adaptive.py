"""Labels of decoded units with early exit: views one after another, in batches across units.

The result of a unit depends on its own frames alone: batches have one shape whatever they hold,
views are evaluated in the order of `sampling.view_order`, and the results of views computed beyond
the stop are discarded.

A unit may come with the pixels of its first clips alone. When its next view is of another clip, the
labeler asks for that one (`Frames.further`), evaluates other units meanwhile, and goes on with the
unit when the pixels have come.
"""

from __future__ import annotations

import heapq
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from workers.inference.early_exit import EarlyExit, margin
from workers.inference.engine import MAX_IN_FLIGHT
from workers.inference.labeler import Labeler
from workers.inference.labeler_config import LabelerConfig
from workers.inference.streams import Stream
from workers.inference.views import EvaluatedViews, Frames, View
from workers.sampling import Protocol

# The crop of frames that are cropped already.
_WHOLE = np.zeros((1, 2), dtype=np.int64)


@dataclass(eq=False)
class _AdaptiveUnit:
    """A unit that is being evaluated.

    Attributes:
        frames: the pixels that it began with.
        order: (clip, crop) of the views that may be evaluated, in this order.
        num_views: views of the protocol, evaluated or not.
        total: float64 (classes,), sum of the probabilities so far.
        clips: by a clip's number, pixels and (T,) their rows.
        views: evaluated views, in that order.
        margins: margin after each of them.
        submitted: views in batches so far, collected or not.
        should_stop: whether no further view is needed.
        answer: a request for further clips that was not answered yet.
    """

    frames: Frames
    order: list[tuple[int, int]]
    num_views: int
    total: npt.NDArray[np.float64]
    clips: dict[int, tuple[npt.NDArray[np.uint8], npt.NDArray[np.int32]]] = field(
        default_factory=dict
    )
    views: list[View] = field(default_factory=list)
    margins: list[float] = field(default_factory=list)
    submitted: int = 0
    should_stop: bool = False
    answer: Future[Any] | None = None

    def __post_init__(self) -> None:
        self._hold(self.frames)

    @property
    def in_flight(self) -> int:
        """Views in batches that were not collected yet."""
        return self.submitted - len(self.margins)

    @property
    def has_more(self) -> bool:
        """Whether a view is left that no batch holds and whose pixels are there."""
        return self.submitted < len(self.order) and self.order[self.submitted][0] in self.clips

    @property
    def is_needed(self) -> bool:
        """Whether its next view is certainly needed and can be computed."""
        return not self.in_flight and self.has_more

    @property
    def lacks_pixels(self) -> bool:
        """Whether its next view is certainly needed and its pixels were not asked for."""
        return not self.in_flight and not self.has_more and self.answer is None

    def ask(self, clips: tuple[int, ...]) -> None:
        """Requests those of these clips that are not there."""
        if self.frames.further is None:
            raise RuntimeError(
                f"unit {self.frames.unit_id} has clips {sorted(self.clips)} alone, and no source "
                f"of others"
            )
        missing = tuple(sorted(set(clips) - self.clips.keys()))
        self.answer = self.frames.further.request(missing)

    def receive(self) -> None:
        """Takes the answer to the request, or waits for it."""
        assert self.frames.further is not None
        assert self.answer is not None
        received = self.frames.further.received(self.answer)
        self.answer = None
        if received.frames is None or received.restart:
            self.views.clear()
            self.margins.clear()
            self.clips.clear()
            self.total[:] = 0
            self.submitted = 0
        if received.frames is None:
            self.should_stop = True
        else:
            self._hold(received.frames)

    def _hold(self, frames: Frames) -> None:
        for number, rows in zip(frames.numbers, frames.clip_frames, strict=True):
            self.clips.setdefault(number, (frames.pixels, rows))

    def add(self, probabilities: npt.NDArray[np.float32], early_exit: EarlyExit) -> None:
        """Adds the probabilities of the next view."""
        self.total += probabilities
        seen = len(self.margins) + 1
        self.margins.append(float(margin(self.total / seen)))
        self.should_stop = early_exit.should_stop(self.margins[-1], seen=seen, views=self.num_views)


class AdaptiveLabeler(Labeler):
    """A labeler that stops evaluating a unit's views once its label is unlikely to change.

    A batch first takes the next view of every unit without views in flight: these views are
    certainly needed. New units begin only while such views do not fill the batch. When no new units
    are left, the rest of the batch goes to views that are needed unless their unit stops before.
    A unit that waits for further clips is in no batch.

    Args:
        config: model, pruning and batch size.
        protocol: how videos become views; not a dense protocol (`every_s`), whose clips are labeled
            one by one.
        early_exit: when to stop.
        streams: as `Engine` takes them.
    """

    def __init__(
        self,
        config: LabelerConfig,
        protocol: Protocol,
        early_exit: EarlyExit,
        *,
        streams: tuple[Stream, Stream | None] | None = None,
    ) -> None:
        if protocol.every_s is not None:
            raise ValueError(
                "early exit is not possible with dense labeling: every clip has its own label, "
                "so all views are evaluated"
            )
        super().__init__(config, protocol, views_per_load=1, streams=streams)
        self.early_exit = early_exit
        self._looks = protocol.looks(early_exit.max_views)
        # A device that computes synchronously has the results at once, and they may save views.
        self._max_in_flight = MAX_IN_FLIGHT if self.engine.is_asynchronous else 1
        self._active: list[_AdaptiveUnit] = []
        self._unfinished: deque[_AdaptiveUnit] = deque()
        self._batches: deque[list[_AdaptiveUnit]] = deque()

    def _evaluate(self, units: Iterator[Frames]) -> Iterator[EvaluatedViews]:
        while True:
            self._begin(units)
            if not self._active:
                return
            self._step()
            yield from self._stopped()

    def _clear(self) -> None:
        for units in (self._active, self._unfinished, self._batches):
            units.clear()

    def _begin(self, units: Iterator[Frames]) -> None:
        """Begins units until the views that are certainly needed fill a batch."""
        needed = sum(unit.is_needed for unit in self._active)
        while needed < self.batch_size and (frames := next(units, None)) is not None:
            order = self.protocol.views_in_order
            unit = _AdaptiveUnit(
                frames=frames,
                order=order[: self.early_exit.max_views],
                num_views=len(order),
                total=np.zeros(len(self.engine.labels)),
            )
            self._active.append(unit)
            self._unfinished.append(unit)
            needed += 1

    def _step(self) -> None:
        """Submits a batch, collects one, or waits for further clips."""
        self._exchange_clips()
        # More than fill a batch, where pixels of several units have come at once.
        needed = [unit for unit in self._active if unit.is_needed][: self.batch_size]
        is_small = 2 * len(needed) < self.batch_size
        # The batch in flight decides which further views are needed: do not guess most of a batch.
        if self.engine.in_flight and is_small:
            self._collect()
            return
        # A GPU would be idle; a CPU computes the padding of a batch too.
        may_wait = not needed or (is_small and not self.engine.is_asynchronous)
        if (may_wait and self._wait_for_clips()) or not needed:
            return
        self._fill(needed)
        self.engine.submit()
        while self.engine.in_flight >= self._max_in_flight:
            self._collect()

    def _exchange_clips(self) -> None:
        """Asks for the clips that are needed now, and takes those that have come."""
        for unit in self._active:
            if unit.lacks_pixels:
                clip, _ = unit.order[unit.submitted]
                unit.ask(next(clips for clips in self._looks if clip in clips))
            if unit.answer is not None and unit.answer.done():
                unit.receive()
        self._active = [unit for unit in self._active if not unit.should_stop]

    def _wait_for_clips(self) -> bool:
        """Waits until further clips of a unit have come; False if no unit waits for any."""
        answers = [unit.answer for unit in self._active if unit.answer is not None]
        if not answers:
            return False
        began = time.monotonic()
        wait(answers, return_when=FIRST_COMPLETED)
        self.waited_s += time.monotonic() - began
        return True

    def _fill(self, needed: list[_AdaptiveUnit]) -> None:
        """Fills the batch with the next view of these units, then with views that may be needed:
        first those that have the fewest views of their unit in flight before them.
        """
        self._batches.append([])
        for unit in needed:
            self._fill_next_view(unit)
        more = [(u.in_flight, index) for index, u in enumerate(self._active) if u.has_more]
        heapq.heapify(more)
        while more and not self.engine.is_full:
            _, index = heapq.heappop(more)
            unit = self._active[index]
            self._fill_next_view(unit)
            if unit.has_more:
                heapq.heappush(more, (unit.in_flight, index))

    def _fill_next_view(self, unit: _AdaptiveUnit) -> None:
        """Puts a unit's next view into the batch; only its own pixels are transferred."""
        clip, crop = unit.order[unit.submitted]
        size, (pixels, rows) = self.protocol.size, unit.clips[clip]
        top, left = self.protocol.crop_origins(*pixels.shape[1:3])[crop].tolist()
        pixels = np.take(pixels[:, top : top + size, left : left + size], rows, axis=0)
        view = Frames(unit.frames.unit_id, pixels, np.arange(len(rows), dtype=np.int32)[None])
        loaded, _ = self.engine.load(view, 1)
        self.engine.fill(loaded, _WHOLE)
        unit.submitted += 1
        self._batches[-1].append(unit)

    def _collect(self) -> None:
        """Gives the results of the oldest batch in flight to the units that still need them, and
        divides the batch's device time among these.
        """
        result = self.engine.collect()
        used = []
        for row, unit in enumerate(self._batches.popleft()):
            if not unit.should_stop:
                used.append((row, unit, unit.order[len(unit.margins)]))
                unit.add(result.probabilities[row], self.early_exit)
        for row, unit, (clip, crop) in used:
            unit.views.append(result.view(row, clip=clip, crop=crop, sharing=len(used)))
        self._active = [unit for unit in self._active if not unit.should_stop]

    def _stopped(self) -> Iterator[EvaluatedViews]:
        while self._unfinished and self._unfinished[0].should_stop:
            unit = self._unfinished.popleft()
            views = sorted(unit.views, key=lambda view: (view.clip, view.crop))
            yield EvaluatedViews(views, unit.margins)
