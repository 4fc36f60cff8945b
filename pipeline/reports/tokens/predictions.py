"""Predictions for a view and its video, with pruning and without."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sta
from pipeline.errors import UsageError
from pipeline.formatting import counted
from pipeline.messages import say
from pipeline.reports.tokens.decoding import clip_place
from pipeline.reports.tokens.lookup import RunFacts, ViewRows, find
from pipeline.run.differences import differences
from pipeline.run.run_directory import RunDirectory
from pipeline.storage.location import Location
from workers.decoding import DecodedUnit
from workers.inference.labeler import Labeler, LabelerConfig
from workers.inference.top_classes import top_classes
from workers.inference.views import Frames

Top = tuple[tuple[str, float | None], ...]


@dataclass(frozen=True)
class ViewPrediction:
    """The most probable classes, best first, with their probabilities.

    Attributes:
        view: of the view; only the first class, without a probability, where no more was recorded;
            None where nothing was.
        video: of all views of the video together; None for a clip of dense labeling, which has
            a label of its own.
    """

    view: Top | None
    video: Top | None

    @property
    def label(self) -> str | None:
        """The label: of the video, or of the clip that stands for itself."""
        top = self.video or self.view
        return top[0][0] if top else None


@dataclass(frozen=True)
class UnprunedPrediction:
    """The unpruned model's prediction, or why it is not known.

    Attributes:
        prediction: None where it is not known.
        source: where the prediction comes from, or why there is none; a sentence.
    """

    prediction: ViewPrediction | None
    source: str


def pruned_prediction(found: ViewRows) -> ViewPrediction:
    """The run's prediction."""
    return _prediction(found, _top(found, found.view), _top(found, found.video))


def from_shadow(found: ViewRows) -> UnprunedPrediction | None:
    """From the run's shadow sample; None for a video that is not in it."""
    number = found.view["unpruned_label_id"]
    if number is None:
        return None
    view = ((found.facts.record.model.labels[number], None),)
    video = None
    if found.video["unpruned_top_ids"] is not None:
        video = _top(found, found.video, "unpruned_")
    prediction = _prediction(found, view, video)
    return UnprunedPrediction(prediction, "From this run: the video is in its shadow sample.")


def from_run(found: ViewRows, other: RunFacts) -> UnprunedPrediction:
    """From a run of the same model without pruning.

    Raises:
        UsageError: that run has no such view.
    """
    view = found.view
    there = find(other, found.video["video_id"], clip=view["clip"], crop=view["crop"])
    prediction = _prediction(there, _top(there, there.view), _top(there, there.video))
    return UnprunedPrediction(prediction, f"From the run {other.run.root.uri}.")


def unpruned_run(facts: RunFacts, output: str) -> RunFacts:
    """The facts of a run to compare with.

    Raises:
        UsageError: it is not a finished unpruned run of the same model and protocol.
    """
    other = RunFacts.of(RunDirectory(Location.of(output)))
    where = other.run.root.uri
    if other.pruning.r:
        raise UsageError(
            f"{where} is pruned (r = {other.pruning.r}); name a run that was made with --r 0"
        )
    mine, its = (
        {"model": each.record.identity.model, "protocol": dataclasses.asdict(each.protocol)}
        for each in (facts, other)
    )
    differing = differences(its, mine, places=("there", "here"))
    if differing:
        raise UsageError(
            f"{where} has another model or protocol than {facts.run.root.uri}: "
            f"{'; '.join(differing)}"
        )
    return other


def from_model(found: ViewRows, decoded: DecodedUnit) -> UnprunedPrediction:
    """From the model itself, run here on this video alone (with --clip-every, on this clip).

    A model that cannot be loaded is no error: `source` says why.
    """
    facts, model = found.facts, found.facts.record.model
    config = LabelerConfig(
        checkpoint=model.checkpoint,
        label_map=model.label_map,
        fingerprint=facts.record.identity.model,
        compile=False,
        precision=facts.record.identity.precision or "float32",
    )
    place = clip_place(found, decoded)
    clips = decoded.clip_frames[[place]] if facts.has_segments else decoded.clip_frames
    try:
        labeler = Labeler(config, facts.protocol)
    except (sta.CheckpointError, sta.UnsafePickle, ValueError, OSError) as error:
        reason = " ".join(str(error).split())
        return UnprunedPrediction(
            None, f"The model {model.checkpoint} could not be loaded: {reason}"
        )
    views = counted(len(clips) * facts.protocol.crops, "views")
    say(
        f"Evaluating {views} again with {model.checkpoint}, unpruned: minutes for a large model on "
        f"a CPU; --no-model leaves it out."
    )
    evaluated = labeler.label([Frames(decoded.unit.unit_id, decoded.frames, clips)])[0]
    wanted = (0 if facts.has_segments else place, found.view["crop"])
    view = next(view for view in evaluated.views if (view.clip, view.crop) == wanted)
    mean = evaluated.mean_probabilities()
    of_view, of_video = (
        _named(model.labels, *top_classes(each)) for each in (view.probabilities, mean)
    )
    return UnprunedPrediction(
        _prediction(found, of_view, of_video),
        f"From {model.checkpoint}, run now on this video only.",
    )


def _prediction(found: ViewRows, view: Top | None, video: Top | None) -> ViewPrediction:
    return ViewPrediction(view, None if found.facts.has_segments else video)


def _top(found: ViewRows, row: dict[str, Any], prefix: str = "") -> Top:
    labels = found.facts.record.model.labels
    return _named(labels, row[f"{prefix}top_ids"], row[f"{prefix}top_scores"])


def _named(labels: Sequence[str], ids: Sequence[int], scores: Sequence[float]) -> Top:
    return tuple((labels[number], score) for number, score in zip(ids, scores, strict=True))
