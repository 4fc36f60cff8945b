"""What the model said of a view and of its video, with pruning and without."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import sta
from pipeline.errors import UsageError
from pipeline.reports.tokens.decoding import clip_place
from pipeline.reports.tokens.lookup import Found, RunFacts, find
from pipeline.run.differences import differences
from pipeline.run.run_directory import RunDirectory
from pipeline.storage.location import Location
from workers.decoding import DecodedUnit
from workers.inference.labeler import Labeler, LabelerConfig, top_classes
from workers.inference.views import Frames

Top = tuple[tuple[str, float | None], ...]


@dataclass(frozen=True)
class Answer:
    """The most probable classes, best first, with their probabilities.

    Attributes:
        view: of the view; only the first class, without a probability, where no more was written
            down; None where nothing was.
        video: of all views of the video together; None for a clip of a timeline, which stands for
            itself.
    """

    view: Top | None
    video: Top | None

    @property
    def label(self) -> str | None:
        """The label: of the video, or of the clip that stands for itself."""
        top = self.video or self.view
        return top[0][0] if top else None


@dataclass(frozen=True)
class Unpruned:
    """What the model without pruning says, or why that is not known.

    Attributes:
        answer: None where it is not known.
        source: where the answer comes from, or why there is none; a sentence for people.
    """

    answer: Answer | None
    source: str


def pruned_answer(found: Found) -> Answer:
    """What the run says."""
    return _answer(found, _top(found, found.view), _top(found, found.video))


def from_shadow(found: Found) -> Unpruned | None:
    """From the run's shadow sample; None for what is not in it."""
    number = found.view["unpruned_label_id"]
    if number is None:
        return None
    view = ((found.facts.labels[number], None),)
    video = None
    if found.video["unpruned_top_ids"] is not None:
        video = _top(found, found.video, "unpruned_")
    answer = _answer(found, view, video)
    return Unpruned(answer, "From this run: the video is in its shadow sample.")


def from_run(found: Found, other: RunFacts) -> Unpruned:
    """From a run of the same model without pruning.

    Raises:
        UsageError: that run has no such view.
    """
    view = found.view
    there = find(other, found.video["video_id"], clip=view["clip"], crop=view["crop"])
    answer = _answer(there, _top(there, there.view), _top(there, there.video))
    return Unpruned(answer, f"From the run {other.run.root.uri}.")


def unpruned_run(facts: RunFacts, output: str) -> RunFacts:
    """The facts of a run to compare with.

    Raises:
        UsageError: it is no finished run, or not of the same model, unpruned, by the same protocol.
    """
    other = RunFacts.of(RunDirectory(Location.of(output)))
    where = other.run.root.uri
    if other.pruning.r:
        raise UsageError(
            f"{where} was pruned itself (r = {other.pruning.r}); name a run that was made by --r 0"
        )
    mine, its = (
        {"model": each.fingerprint, "protocol": dataclasses.asdict(each.protocol)}
        for each in (facts, other)
    )
    differing = differences(its, mine, places=("there", "here"))
    if differing:
        raise UsageError(
            f"{where} is of another model or protocol than {facts.run.root.uri}: "
            f"{'; '.join(differing)}"
        )
    return other


def from_model(found: Found, decoded: DecodedUnit) -> Unpruned:
    """From the model itself, run here on this video (of a timeline on this clip) alone.

    A model that cannot be had is no error: `source` says why.
    """
    facts = found.facts
    config = LabelerConfig(
        checkpoint=facts.checkpoint, fingerprint=facts.fingerprint, compile=False
    )
    place = clip_place(found, decoded)
    clips = decoded.clip_frames[[place]] if facts.is_timeline else decoded.clip_frames
    try:
        labeler = Labeler(config, facts.protocol)
    except (sta.CheckpointError, sta.UnsafePickle, ValueError, OSError) as error:
        reason = " ".join(str(error).split())
        return Unpruned(None, f"The model {facts.checkpoint} could not be loaded: {reason}")
    views = labeler.label([Frames(decoded.unit.unit_id, decoded.frames, clips)])[0]
    wanted = (0 if facts.is_timeline else place, found.view["crop"])
    view = next(view for view in views if (view.clip, view.crop) == wanted)
    mean = np.stack([each.probabilities for each in views]).mean(axis=0, dtype=np.float64)
    of_view, of_video = (
        _named(facts.labels, *top_classes(each)) for each in (view.probabilities, mean)
    )
    return Unpruned(
        _answer(found, of_view, of_video), f"From {facts.checkpoint}, run now on this video alone."
    )


def _answer(found: Found, view: Top | None, video: Top | None) -> Answer:
    return Answer(view, None if found.facts.is_timeline else video)


def _top(found: Found, row: dict[str, Any], prefix: str = "") -> Top:
    return _named(found.facts.labels, row[f"{prefix}top_ids"], row[f"{prefix}top_scores"])


def _named(labels: Sequence[str], ids: Sequence[int], scores: Sequence[float]) -> Top:
    return tuple((labels[number], score) for number, score in zip(ids, scores, strict=True))
