"""Early-exit files for tests, written without fitting, and early exit view by view."""

from pathlib import Path

from pipeline.early_exit import EarlyExitFile, OperatingPoint
from pipeline.labeling.options import LabelOptions
from pipeline.labeling.plan import plan_labeling
from pipeline.labeling.pruning_flags import PruningFlags
from pipeline.storage.location import Location
from workers.inference.early_exit import EarlyExit, Floats
from workers.precisions import fast_precision


def write_early_exit(
    place,
    threshold,
    *,
    source,
    checkpoint,
    agreement=0.9,
    views=3.0,
    r=None,
    decode="exact",
    protocol_views=None,
):
    """An early-exit file with this threshold for the labeling of `source` by k400's protocol."""
    options = LabelOptions(
        task="k400",
        source=str(source),
        output=str(Path(place).with_suffix(".none")),
        checkpoint=str(checkpoint),
        pruning=PruningFlags(r=r),
        views=protocol_views,
    )
    identity = plan_labeling(options).identity.to_json()
    bound = {name: identity[name] for name in ("model", "labels", "pruning", "protocol")}
    EarlyExitFile(
        **bound,
        precision=fast_precision("cpu"),
        decoder="pyav",
        decode=decode,
        agreement=agreement,
        confidence=0.95,
        threshold=threshold,
        videos=100,
        source="made for a test",
        curve=(OperatingPoint(threshold, agreement, agreement, views, 2.0),),
    ).write(Location.of(str(place)))
    return place


def views_needed(early_exit: EarlyExit, margins: Floats) -> int:
    """Views evaluated, one after the other, of a video with these margins.

    Args:
        early_exit: when to stop.
        margins: (views,) as `workers.inference.early_exit.margins` gives them.
    """
    views = len(margins)
    for seen, margin in enumerate(margins.tolist(), start=1):
        if early_exit.should_stop(margin, seen=seen, views=views):
            return seen
    return views
