"""Accuracy of the demo model, pruned and unpruned, on unseen videos of the demo archive."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

import sta
from pipeline.inputs.demo.archive import SAMPLE_EVERY
from pipeline.lab.demo.examples import SIZE, Example, plain_batch
from workers.sampling import protocol


@dataclass(frozen=True)
class Score:
    """How a model did.

    Attributes:
        pruning: how the model was pruned.
        flops: multiply-accumulates per view.
        views: share of views whose largest logit is the ground truth.
        one_view: share of videos that are right from the middle crop of the middle clip alone.
        videos: share of videos that are right by the mean softmax over all their views.
    """

    pruning: sta.Pruning
    flops: int
    views: float
    one_view: float
    videos: float


def prunings(rates: Sequence[int]) -> list[sta.Pruning]:
    """The dense model, then STA and dropping at random for every r."""
    pairs = [(sta.Pruning(r=r), sta.Pruning(r=r, score="random")) for r in rates if r > 0]
    return [sta.Pruning(), *(pruning for pair in pairs for pruning in pair)]


def evaluate(
    weights: Path,
    examples: Sequence[Example],
    settings: Sequence[sta.Pruning],
    *,
    report: Callable[[Score], None] | None = None,
) -> list[Score]:
    """Accuracy of a checkpoint on test videos under the 5 x 3 protocol, in float32.

    Args:
        weights: a file of ``sta.save_checkpoint``.
        examples: the test videos.
        settings: the prunings to measure.
        report: called with each score as it is known.

    Raises:
        ValueError: no test videos.
    """
    if not examples:
        raise ValueError("there are no videos to test on")
    scores = []
    for pruning in settings:
        model = sta.load_model(weights, pruning=pruning)
        with torch.inference_mode():
            right = torch.tensor([_views_right(model, example) for example in examples])
        views, one_view, videos = right.double().mean(0).tolist()
        flops = sta.estimate_flops("vit_demo", pruning=pruning, num_classes=len(model.labels))
        scores.append(Score(pruning, int(flops), views, one_view, videos))
        if report is not None:
            report(scores[-1])
    return scores


def _views_right(model: sta.VideoModel, example: Example) -> tuple[float, float, float]:
    """For one video: share of right views, and whether one view and all together are right."""
    plan = protocol("videomae-k400", size=SIZE)
    count, height, width, _ = example.frames.shape
    # The example holds every fourth frame already; so many frames give the same list.
    places = plan.clip_indices(count * SAMPLE_EVERY) // SAMPLE_EVERY
    logits = []
    for top, left in plan.crop_origins(height, width).tolist():
        clips = example.frames[places, top : top + SIZE, left : left + SIZE]
        batch = plain_batch(clips, example.label_id)
        logits.append(model(batch.normalized(batch.clips).permute(0, 4, 1, 2, 3)).logits)
    stacked = torch.stack(logits, 1)
    right = stacked.argmax(2) == example.label_id
    middle = right[plan.clips // 2, plan.crops // 2]
    together = int(stacked.softmax(2).mean((0, 1)).argmax()) == example.label_id
    return float(right.float().mean()), float(middle), float(together)


HEADING = f"{'pruning':<14}{'GFLOPs/view':>12}{'1 view':>9}{'per view':>10}{'5x3 views':>11}"
"""What stands over the columns of ``line``."""


def line(score: Score) -> str:
    """One score as a line of text."""
    pruning = score.pruning
    name = f"{pruning.score} r={pruning.r}" if pruning.r else "none"
    return (
        f"{name:<14}{score.flops / 1e9:>12.3f}{score.one_view:>9.1%}"
        f"{score.views:>10.1%}{score.videos:>11.1%}"
    )
