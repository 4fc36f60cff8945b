"""One labelling run from its options to _SUCCESS."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import ray

import sta
from pipeline.errors import RunError, UsageError
from pipeline.graph import GraphConfig, commit_rows, run_graph
from pipeline.listing import VIDEO_EXTENSIONS, Listing, Video
from pipeline.manifest import count_rows, write_manifest
from pipeline.progress import ProgressLine, reporting
from pipeline.ray_session import ray_messages_aside, start_ray
from pipeline.resources import plan_pools
from pipeline.run_directory import (
    RUN_VERSION,
    RunDirectory,
    check_same,
    environment,
    now,
)
from pipeline.storage import Location
from pipeline.tables import build_tables, committed
from pipeline.verify import verify
from workers.decoding import DECODERS
from workers.labelling import LabellerConfig
from workers.sampling import Protocol, protocol
from workers.schema import UNIT_SCHEMA_VERSION


@dataclass(frozen=True)
class LabelOptions:
    """What the user asked for.

    Attributes:
        task: "k400" or "ssv2", which names the protocol.
        source: directory, s3:// prefix, video or manifest.
        output: directory or s3:// prefix.
        checkpoint: source for `sta.load_model`.
        architecture: what the checkpoint must be, None for whatever it is.
        labels: file with class names.
        pruning: pruning, with r None for the architecture's own default.
        r: tokens dropped per frame at the first stage.
        protocol: name of a sampling protocol, None for the model's own.
        views: (clips, crops), None for the protocol's own.
        limit: label at most so many videos.
        decoder: which decoder.
        decoders: (min, max) decode actors.
        labelers: label actors.
        batch_size: views per forward pass.
    """

    task: str
    source: str
    output: str
    checkpoint: str
    architecture: str | None = None
    labels: Path | None = None
    pruning: sta.Pruning = dataclasses.field(default_factory=sta.Pruning)
    r: int | None = None
    protocol: str | None = None
    views: tuple[int, int] | None = None
    limit: int | None = None
    decoder: str = DECODERS[0]
    decoders: tuple[int, int] | None = None
    labelers: int | None = None
    batch_size: int | None = None

    def __post_init__(self) -> None:
        for name in ("limit", "labelers", "batch_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"--{name.replace('_', '-')} must be 1 or more; got {value}")


@dataclass(frozen=True)
class Prepared:
    """A run that is ready to start: everything that can be wrong with the command was checked.

    Attributes:
        run: the run directory, with manifest and run.json in place.
        content: run.json.
        protocol: how videos become views.
        labeller: what the labellers load.
        finished: whether an earlier start has completed the run.
    """

    run: RunDirectory
    content: dict[str, Any]
    protocol: Protocol
    labeller: LabellerConfig
    finished: bool


def prepare(options: LabelOptions) -> Prepared:
    """Checks the command, then makes or joins the run directory.

    Raises:
        UsageError, sta.CheckpointError, sta.UnsafePickle, ValueError: the command is wrong.
    """
    model = sta.load_model(
        options.checkpoint, architecture=options.architecture, labels=options.labels
    )
    pruning = _pruning(options, model)
    shape = model.config
    shape.stages(pruning)
    views = _protocol(options, model)
    dense, pruned = (
        sta.estimate_flops(model.architecture, pruning=p, num_classes=len(model.labels))
        for p in (None, pruning)
    )
    identity = _identity(options, model, pruning, views)
    described = {
        "architecture": model.architecture,
        "checkpoint": options.checkpoint,
        "kept_grids": [list(grid) for grid in shape.kept_grids(pruning)],
        "flops_per_view": pruned,
        "flops_per_view_unpruned": dense,
        "flops_follow_clip": sta.flops_follow_clip(model.architecture, pruning),
        "labels": list(model.labels),
    }
    run = RunDirectory(Location.of(options.output))
    content = _open_or_create(run, options, identity, described)
    labeller = LabellerConfig(
        checkpoint=options.checkpoint,
        pruning=pruning,
        labels=options.labels,
        batch_size=options.batch_size,
        fingerprint=model.fingerprint,
    )
    return Prepared(run, content, views, labeller, finished=run.success.exists())


def _protocol(options: LabelOptions, model: sta.VideoModel) -> Protocol:
    """The protocol that the task's published accuracies of this kind of model were measured by."""
    family = "videoswin" if model.architecture.startswith("videoswin") else "videomae"
    return protocol(
        options.protocol or f"{family}-{options.task}",
        size=model.config.image_size,
        frames=model.config.frames,
        views=options.views,
    )


def _pruning(options: LabelOptions, model: sta.VideoModel) -> sta.Pruning:
    r = sta.default_pruning(model.architecture).r if options.r is None else options.r
    return dataclasses.replace(options.pruning, r=r)


def _identity(
    options: LabelOptions, model: sta.VideoModel, pruning: sta.Pruning, views: Protocol
) -> dict[str, Any]:
    """All that decides what a row says; a run holds rows of one identity."""
    return {
        "input": Location.of(options.source).uri,
        "limit": options.limit,
        "model": model.fingerprint,
        "labels": sta.labels_fingerprint(model.labels),
        "pruning": dataclasses.asdict(pruning) if pruning.r else {"r": 0},
        "protocol": dataclasses.asdict(views),
        "decoder": options.decoder,
        "unit_schema": UNIT_SCHEMA_VERSION,
    }


def _open_or_create(
    run: RunDirectory, options: LabelOptions, identity: dict[str, Any], model: dict[str, Any]
) -> dict[str, Any]:
    if run.exists():
        content = run.load()
        check_same(content["identity"], identity, run.root.uri)
        return content
    run.check_unused()
    listing = Listing(options.source)
    videos = _first_or_refuse(listing, options.limit)
    run.root.check_writable()
    run.manifest.delete_parts()
    count = write_manifest(videos, run.manifest)
    content = {
        "version": RUN_VERSION,
        "created": now(),
        "identity": identity,
        "model": model,
        "listing": {"videos": count, "skipped": dict(listing.skipped)},
        "environment": environment(),
    }
    run.save(content)
    return content


def _first_or_refuse(listing: Listing, limit: int | None) -> Iterator[Video]:
    videos = islice(listing.videos(), limit)
    first = next(videos, None)
    if first is None:
        raise UsageError(f"no video in {listing.source}: {_found(listing.skipped)}")
    return chain([first], videos)


def _found(skipped: Counter[str]) -> str:
    if not skipped:
        return "it is empty"
    kinds = ", ".join(f"{count} {name}" for name, count in skipped.most_common(5))
    extensions = " ".join(sorted(VIDEO_EXTENSIONS))
    return f"it holds {kinds}; a video's name ends in one of {extensions}"


def execute(prepared: Prepared, options: LabelOptions) -> dict[str, Any]:
    """Runs the graph, builds the tables and returns the finished run.json.

    Raises:
        UsageError: the cluster cannot hold the pools that were asked for.
        RunError: the run could not finish; the same command resumes it.
    """
    run, content = prepared.run, prepared.content
    start_ray()
    resources = ray.cluster_resources()
    pools = plan_pools(
        cpus=resources.get("CPU", 0.0),
        gpus=resources.get("GPU", 0.0),
        nodes=len([node for node in ray.nodes() if node["Alive"]]),
        decoders=options.decoders,
        labellers=options.labelers,
    )
    total = count_rows(run.manifest)
    config = GraphConfig(
        protocol=prepared.protocol,
        decoder=options.decoder,
        labeller=dataclasses.replace(prepared.labeller, threads=pools.labeller_threads),
        pools=pools,
        commit_rows=commit_rows(total, pools),
    )
    try:
        line = ProgressLine(total=total, before=committed(run))
        with ray_messages_aside(), reporting(line) as progress:
            run_graph(run, config, progress)
    except (ray.exceptions.RayError, OSError, RuntimeError) as error:
        raise RunError(_root_cause(error)) from error
    try:
        return _finish(run, content)
    except (pa.ArrowException, OSError) as error:
        raise RunError(f"a file of {run.root.uri} cannot be read: {_root_cause(error)}") from error


def _finish(run: RunDirectory, content: dict[str, Any]) -> dict[str, Any]:
    """Builds the tables, proves them, and writes _SUCCESS."""
    totals = build_tables(run)
    content = content | {"totals": dataclasses.asdict(totals), "finished": now()}
    run.save(content)
    problems = [f"{check.what}: {check.problem}" for check in verify(run) if check.problem]
    if problems:
        raise RunError(f"the tables do not hold what they promise: {'; '.join(problems)}")
    run.success.write_bytes(b"")
    return content


def _root_cause(error: BaseException) -> str:
    """What a worker raised, in its own words: Ray wraps it, and adds a traceback above it.

    `cause` is Ray's; `__cause__` is no help, since Ray Data sets it to an empty marker.
    """
    cause = getattr(error, "cause", None)
    if isinstance(cause, BaseException) and cause is not error:
        return _root_cause(cause)
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
