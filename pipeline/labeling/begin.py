"""The beginning of a run: the input is listed, the manifest is written, and then run.json."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice

from pipeline.execution.durations import with_durations
from pipeline.execution.ray_session import start_ray
from pipeline.formatting import counted
from pipeline.inputs.left_out import shortened
from pipeline.inputs.listing import Listing
from pipeline.inputs.manifest import sampled, write_manifest
from pipeline.inputs.video import Video
from pipeline.labeling.graph_runner import pools_for
from pipeline.labeling.options import LabelOptions
from pipeline.labeling.plan import LabelPlan, check_input
from pipeline.messages import say
from pipeline.run.earlier_runs import LeftOut
from pipeline.run.run_directory import RunDirectory, environment, now
from pipeline.run.run_record import Listed, RunRecord


def begin_like(plan: LabelPlan, other: RunDirectory) -> RunRecord:
    """Begins a run over the units of another, whose manifest and precision are taken."""
    record = other.load()
    for part in other.manifest.files(".parquet"):
        plan.run.manifest.child(part.name).write_bytes(part.read_bytes())
    return plan.run.create(
        RunRecord(
            identity=replace(plan.identity, precision=record.identity.precision),
            model=plan.model,
            created=now(),
            listing=record.listing,
            environment=environment(),
        )
    )


def begin(plan: LabelPlan, options: LabelOptions, *, read: Sequence[str] = ()) -> RunRecord:
    """Lists the input, writes the manifest and then run.json, with which the run exists.

    `read`: columns of the list that the caller reads, beside those that listing reads.
    """
    run, every_s = plan.run, plan.protocol.every_s
    run.manifest.delete_parts()
    checked = plan.checked or check_input(plan, options)
    labels = checked.labels
    problem = labels.problem()
    say(problem if problem is None or labels.known else f"{problem}; no accuracy is computed")
    listing = checked.listing.again(
        report=lambda count: say(f"listed {count:,} so far"),
        gzip_indexes=run.gzip_indexes,
    )
    left_out = LeftOut()
    videos: Iterator[Video] = plan.earlier.new(listing.videos(), left_out)
    videos = islice(videos, options.limit)
    videos = (replace(each, ground_truth=labels.named(each.ground_truth)) for each in videos)
    if plan.sample is not None:
        videos = sampled(videos, plan.sample)
    if every_s is not None:
        start_ray()
        videos = with_durations(videos, run, plan.protocol, pools_for(options), options.limits)
    unit_s = None if every_s is None else plan.protocol.unit_s
    counts = write_manifest(
        videos, run.manifest, unit_s=unit_s, max_units=options.max_units_per_video
    )
    if unread := [name for name in listing.unread if name not in read]:
        say(f"columns of {options.source} that are not read: {', '.join(unread)}")
    say(listing.named())
    say(_of_segments(listing))
    if left_out.by_address:
        say(
            f"--since: {left_out.by_address:,} videos were left out by their address alone, since "
            f"the input gives neither size nor ETag."
        )
    return run.create(
        RunRecord(
            identity=plan.identity,
            model=plan.model,
            created=now(),
            listing=Listed(
                counts.videos,
                counts.units,
                {shortened(kind): count for kind, count in listing.skipped.items()},
                listing.names,
                left_out.videos,
                listing.rows,
            ),
            environment=environment(),
        )
    )


def _of_segments(listing: Listing) -> str | None:
    """A message about videos that a list names by their segments; None without such videos."""
    if not listing.in_segments:
        return None
    return (
        f"{listing.source} names segments of {counted(listing.in_segments, 'videos')}; a video is "
        f"labeled once and whole"
    )
