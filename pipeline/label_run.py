"""One labelling run from its plan to _SUCCESS."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import pyarrow as pa
import ray

from pipeline.bottleneck import Room, bottleneck
from pipeline.calibration import Remaining, discard_sample, fitted_decoders, record, sample_size
from pipeline.commits import committed, reconcile, withdraw_failed
from pipeline.cutting import with_durations
from pipeline.errors import RunError
from pipeline.failure_limit import FailureLimit
from pipeline.graph import GraphConfig, run_graph
from pipeline.label_options import LabelOptions
from pipeline.label_plan import LabelPlan
from pipeline.lease import held
from pipeline.listing import Listing
from pipeline.manifest import count_rows, write_manifest
from pipeline.progress import Counts, ProgressLine, reporting
from pipeline.ray_session import ray_messages_aside, start_ray
from pipeline.resources import AUTO, Pools, most_decoders, plan_pools
from pipeline.run_directory import RUN_VERSION, RunDirectory, environment, now
from pipeline.sizing import default_batch, labeller_bytes, labellers_worth_starting
from pipeline.stages import Stages
from pipeline.stopping import Stop, end_on_sigterm
from pipeline.storage import Location
from pipeline.tables import build_tables
from pipeline.verify import verify
from pipeline.video import Video
from workers.decoding import DecodeLimits
from workers.failures import ErrorType

# The second time does what the first left out because a task of an earlier start was still
# writing; if units are missing after it, something else is wrong.
_PASSES = 2


def label(plan: LabelPlan, options: LabelOptions) -> dict[str, Any]:
    """Labels every unit that has no row yet and returns the finished run.json.

    Raises:
        UsageError: the input or the cluster is not as it must be, or another command is at work.
        RunError: the run could not finish; the same command resumes it.
    """
    stop = Stop()
    end_on_sigterm()

    def lost() -> None:
        stop(RunError(f"another command has taken over {plan.run.root.uri}", advice=""))

    plan.run.root.check_writable()
    try:
        with held(plan.run.root, lost=lost, say=_say):
            return _label(plan, options, stop)
    except KeyboardInterrupt:
        if stop.error is None:
            raise
        raise stop.error from None


def is_finished(run: RunDirectory, *, retry_failed: bool) -> bool:
    """Whether there is nothing to do: all is labelled, and no failure is to be done again."""
    if not run.success.exists():
        return False
    failures = run.load()["totals"]["unit_failures"]
    return not (retry_failed and _retryable() & failures.keys())


def _label(plan: LabelPlan, options: LabelOptions, stop: Stop) -> dict[str, Any]:
    """All that happens while the lease is held."""
    run = plan.run
    try:
        content = run.load() if run.exists() else begin(plan, options)
        start_ray()
        pools = pools_for(options, plan)
        _say(reconcile(run).line())
        if options.retry_failed:
            _withdraw(run)
        stages = _label_the_rest(plan, options, pools, content, stop)
        return _finish(run, content, stages)
    except (pa.ArrowException, OSError) as error:
        raise RunError(f"{run.root.uri}: {_root_cause(error)}") from error
    except ray.exceptions.RayError as error:
        raise RunError(_root_cause(error)) from error


def begin(plan: LabelPlan, options: LabelOptions) -> dict[str, Any]:
    """Lists the input, writes the manifest and then run.json, with which the run begins."""
    run, every_s = plan.run, plan.protocol.every_s
    run.manifest.delete_parts()
    listing = Listing(options.source, report=lambda count: _say(f"listed {count:,} so far"))
    videos: Iterator[Video] = islice(listing.videos(), options.limit)
    if every_s is not None:
        start_ray()
        videos = with_durations(videos, run, plan.protocol, pools_for(options))
    unit_s = None if every_s is None else plan.protocol.unit_s
    counts = write_manifest(videos, run.manifest, unit_s=unit_s)
    content = {
        "version": RUN_VERSION,
        "created": now(),
        "identity": plan.identity,
        "model": plan.model,
        "listing": counts._asdict() | {"skipped": dict(listing.skipped)},
        "environment": environment(),
    }
    run.save(content)
    return content


def pools_for(
    options: LabelOptions, plan: LabelPlan | None = None, *, decoders: int | None = None
) -> Pools:
    """Pools for labelling what the plan says; without one, for measuring recordings.

    `decoders`: how many, if that was found out.
    """
    resources = ray.cluster_resources()
    chosen = None if options.decoders == AUTO else options.decoders
    worth = memory = 0
    if plan is not None:
        on_gpu = resources.get("GPU", 0.0) >= 1
        worth = labellers_worth_starting(count_rows(plan.run.manifest) * plan.protocol.views)
        memory = labeller_bytes(
            plan.model["architecture"],
            plan.protocol,
            on_gpu=on_gpu,
            batch_size=options.batch_size or default_batch(on_gpu=on_gpu),
        )
    return plan_pools(
        cpus=resources.get("CPU", 0.0),
        gpus=resources.get("GPU", 0.0),
        memory=resources.get("memory", 0.0),
        nodes=len([node for node in ray.nodes() if node["Alive"]]),
        decoders=(decoders, decoders) if decoders is not None else chosen,
        labellers=options.labelers,
        labellers_worth=worth,
        labeller_memory=memory,
    )


def _limits(options: LabelOptions) -> DecodeLimits:
    if options.fetch_s is None:
        return DecodeLimits()
    return DecodeLimits(fetch_seconds=options.fetch_s)


def _withdraw(run: RunDirectory) -> None:
    """Takes back the failures that may be gone; the run is unfinished from then on."""
    run.success.delete()
    count = withdraw_failed(run, _retryable())
    _say(f"Doing {count:,} failed units again.")


def _retryable() -> set[str]:
    return {str(reason) for reason in ErrorType if reason.retryable}


def _label_the_rest(
    plan: LabelPlan, options: LabelOptions, pools: Pools, content: dict[str, Any], stop: Stop
) -> dict[str, Any] | None:
    """Runs the graph until every unit has its row; what its stages did, if there was any to do."""
    run, total = plan.run, count_rows(plan.run.manifest)
    passing = Passing(plan, options, total, stop)
    counts = committed(run)
    if options.decoders == AUTO and counts.units < total:
        remaining = Remaining(total, counts.units, _units(plan))
        room = passing.room(pools)
        decoders = fitted_decoders(
            run,
            content,
            remaining,
            sample=sample_size(plan.protocol, pools, room.batch_size),
            room=room,
            measure=lambda sample: passing.run_graph(pools, counts, sample),
            say=_say,
        )
        counts = committed(run)
        pools = pools if decoders is None else pools_for(options, plan, decoders=decoders)
    account = None
    for _ in range(_PASSES):
        _check_failures(options.max_failed, counts, total)
        if counts.units >= total:
            return account
        stages = passing.run_graph(pools, counts)
        counts = committed(run)
        room = passing.room(pools)
        account = account or stages.as_json() | {"bottleneck": bottleneck(stages, room)}
        record(content, stages, room)
        run.save(content)
    _check_failures(options.max_failed, counts, total)
    return account


@dataclass(frozen=True)
class Passing:
    """Passes over what has no row yet, all with the same settings but for the pools."""

    plan: LabelPlan
    options: LabelOptions
    total: int
    stop: Stop

    def graph(self, pools: Pools) -> GraphConfig:
        """The settings of a pass."""
        return GraphConfig(
            protocol=self.plan.protocol,
            decoder=self.options.decoder,
            limits=_limits(self.options),
            labeller=dataclasses.replace(self.plan.labeller, threads=pools.labeller_threads),
            pools=pools,
            units=self.total,
            accept_changed=self.options.retry_failed,
        )

    def room(self, pools: Pools) -> Room:
        """What there is for the pools."""
        resources, config = ray.cluster_resources(), self.graph(pools)
        return Room(
            cores=pools.cores,
            most_decoders=most_decoders(
                pools, cpus=resources.get("CPU", 0.0), memory=resources.get("memory", 0.0)
            ),
            labeller_threads=pools.labeller_threads,
            batch_size=config.batch_size,
            full_batch=default_batch(on_gpu=pools.labeller_gpus > 0),
            views_per_call=config.grain.label_rows * self.plan.protocol.views,
        )

    def run_graph(self, pools: Pools, done: Counts, manifest: Location | None = None) -> Stages:
        """Labels what has no row, of the run or of another manifest; tells what that cost."""
        run, options = self.plan.run, self.options
        line = ProgressLine(self.total, done, what=_units(self.plan))

        def watch(counts: Counts) -> None:
            try:
                _check_failures(options.max_failed, counts, line.total)
            except RunError as error:
                self.stop(error)

        try:
            with ray_messages_aside(), reporting(line, watch) as report:
                run_graph(run, self.graph(pools), report, manifest=manifest)
                stages = report.stages()
        except (ray.exceptions.RayError, OSError, RuntimeError) as error:
            raise RunError(_root_cause(error)) from error
        reconcile(run)
        return stages.within(decoders=pools.decoders[1], labellers=pools.labellers)


def _units(plan: LabelPlan) -> str:
    return "videos" if plan.protocol.every_s is None else "stretches"


def _check_failures(limit: FailureLimit | None, counts: Counts, total: int) -> None:
    """Raises RunError where too much fails."""
    if limit is not None and limit.is_exceeded(
        failed=counts.failed, done=counts.units, total=total
    ):
        raise RunError(
            f"{counts.failed:,} of {counts.units:,} failed ({counts.reasons()}), more than "
            f"--max-failed {limit} allows for this run of {total:,}",
            advice="Raise --max-failed to go on; or mend the input and add --retry-failed, which "
            f"does {', '.join(sorted(_retryable()))} again; for other reasons choose a new OUTPUT.",
        )


def _finish(
    run: RunDirectory, content: dict[str, Any], stages: dict[str, Any] | None
) -> dict[str, Any]:
    """Builds the tables, proves them, and writes _SUCCESS.

    The account of the stages is that of the start that labelled most.
    """
    discard_sample(run)
    accounts = [content.get("totals", {}).get("stages"), stages]
    stages = max(filter(None, accounts), key=lambda each: each["label"]["units"], default=None)
    totals = dataclasses.asdict(build_tables(run)) | {"stages": stages}
    content = content | {"totals": totals, "finished": now()}
    run.save(content)
    problems = [f"{check.what}: {check.problem}" for check in verify(run) if check.problem]
    if problems:
        raise RunError(f"the tables do not hold what they promise: {'; '.join(problems)}")
    run.success.write_bytes(b"")
    return content


def _say(line: str | None) -> None:
    if line:
        print(line, file=sys.stderr, flush=True)


def _root_cause(error: BaseException) -> str:
    """What a worker raised, in its own words: Ray wraps it, and adds a traceback above it.

    `cause` is Ray's; `__cause__` is no help, since Ray Data sets it to an empty marker.
    """
    if isinstance(error, OSError) and error.strerror and error.errno:
        return os.strerror(error.errno)
    cause = getattr(error, "cause", None)
    if isinstance(cause, BaseException) and cause is not error:
        return _root_cause(cause)
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
