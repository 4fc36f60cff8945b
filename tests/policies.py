"""Policy files as tests need them, without fitting: for the run of a labelling command."""

from pathlib import Path

from pipeline.label_options import LabelOptions
from pipeline.label_plan import plan_labelling
from pipeline.policies import Point, PolicyFile
from pipeline.storage import Location


def write_policy(place, margin, *, source, checkpoint, agreement=0.9, views=3.0, **settings):
    """A policy of this margin that fits the labelling of `source` by k400's protocol."""
    options = LabelOptions(
        task="k400",
        source=str(source),
        output=str(Path(place).with_suffix(".none")),
        checkpoint=str(checkpoint),
        **settings,
    )
    identity = plan_labelling(options).identity
    bound = {name: identity[name] for name in ("model", "labels", "pruning", "protocol")}
    PolicyFile(
        **bound,
        agreement=agreement,
        confidence=0.95,
        margin=margin,
        videos=100,
        source="made for a test",
        curve=(Point(margin, agreement, agreement, views, 2.0),),
    ).write(Location.of(str(place)))
    return place
