"""Policies as tests need them: a file without fitting, and what one does view by view."""

from pathlib import Path

from pipeline.early_exit import EarlyExitFile, Point
from pipeline.labeling.options import LabelOptions
from pipeline.labeling.plan import plan_labeling
from pipeline.storage.location import Location
from workers.inference.early_exit import EarlyExit, Floats


def write_early_exit(place, threshold, *, source, checkpoint, agreement=0.9, views=3.0, **settings):
    """A policy of this threshold that fits the labeling of `source` by k400's protocol."""
    options = LabelOptions(
        task="k400",
        source=str(source),
        output=str(Path(place).with_suffix(".none")),
        checkpoint=str(checkpoint),
        **settings,
    )
    identity = plan_labeling(options).identity
    bound = {name: identity[name] for name in ("model", "labels", "pruning", "protocol")}
    EarlyExitFile(
        **bound,
        agreement=agreement,
        confidence=0.95,
        threshold=threshold,
        videos=100,
        source="made for a test",
        curve=(Point(threshold, agreement, agreement, views, 2.0),),
    ).write(Location.of(str(place)))
    return place


def views_needed(early_exit: EarlyExit, margins: Floats) -> int:
    """Views that a policy looks at, one after the other, of a video with these margins.

    Args:
        policy: when to stop.
        margins: (views,) as `workers.inference.early_exit.margins` gives them.
    """
    views = len(margins)
    for seen, margin in enumerate(margins.tolist(), start=1):
        if early_exit.should_stop(margin, seen=seen, views=views):
            return seen
    return views
