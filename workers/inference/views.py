"""The input of a labeler, `Frames`, and its output: a `View` each, `EvaluatedViews` of a unit."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Frames:
    """One unit's pixels, the input of a labeler.

    Attributes:
        unit_id: the unit.
        pixels: uint8 (n, height, width, 3), RGB, resized as the protocol says; labelers neither
            write nor keep them.
        clip_frames: int (clips, T), rows of `pixels`.
        clips: (clips,) numbers of these clips, ascending; None for 0, 1, and so on.
        further: decodes further clips of the unit; None where there are no others.
    """

    unit_id: str
    pixels: npt.NDArray[np.uint8]
    clip_frames: npt.NDArray[np.int32]
    clips: tuple[int, ...] | None = None
    further: FurtherFrames | None = None

    @property
    def numbers(self) -> tuple[int, ...]:
        """(clips,) numbers of the clips."""
        return tuple(range(len(self.clip_frames))) if self.clips is None else self.clips


@dataclass(frozen=True)
class Received:
    """What came of a request for further clips.

    Attributes:
        frames: the clips, and perhaps others; None where they could not be decoded, and the unit
            fails.
        restart: whether the unit is evaluated anew with these frames, which are all: a decode of
            the whole video found other frames than a decode of the first clips had to assume.
    """

    frames: Frames | None
    restart: bool = False


class FurtherFrames(Protocol):
    """Decodes further clips of one unit."""

    def request(self, clips: tuple[int, ...]) -> Future[Any]:
        """Begins to decode these clips; does not wait."""

    def received(self, answer: Future[Any]) -> Received:
        """What came of a request; waits for it."""


@dataclass(frozen=True)
class View:
    """The model's result for one clip under one crop.

    Attributes:
        clip: number of the clip.
        crop: number of the crop.
        probabilities: float32 (classes,).
        kept: one bool array (n_t, n_s) per pruning stage.
        flops: multiply-accumulates of this view, fvcore's convention.
        device_ms: device time of the batch divided by the number of its views, milliseconds.
        features: float16 (d,), what the head sees; None where they are not asked for.
    """

    clip: int
    crop: int
    probabilities: npt.NDArray[np.float32]
    kept: tuple[npt.NDArray[np.bool_], ...]
    flops: int
    device_ms: float
    features: npt.NDArray[np.float16] | None = None


@dataclass(frozen=True)
class EvaluatedViews:
    """The views of one unit that the model evaluated.

    Attributes:
        views: in the order of their clips, and of the crops of each clip.
        margins: top-1/top-2 margin of the mean probabilities after each view, in the order in
            which the views were evaluated, as float32 values; None without early exit, where all
            views are evaluated whatever the margin.
    """

    views: list[View]
    margins: list[float] | None = None

    @property
    def flops(self) -> int:
        """Multiply-accumulates of all views."""
        return sum(view.flops for view in self.views)

    @property
    def device_ms(self) -> float:
        """Device time of all views, milliseconds."""
        return sum(view.device_ms for view in self.views)

    def probabilities(self) -> npt.NDArray[np.float32]:
        """(views, classes)"""
        return np.stack([view.probabilities for view in self.views])

    def mean_probabilities(self) -> npt.NDArray[np.float64]:
        """(classes,) mean over the views."""
        return np.asarray(self.probabilities().mean(axis=0, dtype=np.float64))


class IdMismatch(RuntimeError):  # noqa: N818
    """A batch returned other ids than it was given; its labels must not be used."""
