"""Policies as tests need them: a file without fitting, and what one does view by view."""

from pathlib import Path

from pipeline.label_options import LabelOptions
from pipeline.label_plan import plan_labelling
from pipeline.policies import Point, PolicyFile
from pipeline.storage import Location
from workers.view_policy import Floats, ViewPolicy


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


def views_needed(policy: ViewPolicy, leads: Floats) -> int:
    """Views that a policy looks at, one after the other, of a video with these leads.

    Args:
        policy: when to stop.
        leads: (views,) as `workers.view_policy.leads` gives them.
    """
    views = len(leads)
    for seen, lead in enumerate(leads.tolist(), start=1):
        if policy.is_settled(lead, seen=seen, views=views):
            return seen
    return views
