"""Passes of the graph over what has no row yet, and the pools that they run with."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import ray

from pipeline.early_exit.budget import RunPart
from pipeline.errors import RunError
from pipeline.execution.block_size import (
    Grain,
    default_batch,
    labeler_bytes,
    labelers_worth_starting,
)
from pipeline.execution.bottleneck import Capacity
from pipeline.execution.cluster import cluster_for
from pipeline.execution.driver_rate import driver_units_per_s, drivers_worth
from pipeline.execution.drivers import run_drivers
from pipeline.execution.failure_limit import FailureLimit
from pipeline.execution.graph import GraphConfig
from pipeline.execution.pools import AUTO, Pools, most_decoders, plan_pools
from pipeline.execution.progress import ProgressLine, reporting
from pipeline.execution.ray_session import real_cores
from pipeline.execution.run_failure import run_failure
from pipeline.execution.stage_stats import Stages
from pipeline.execution.stopping import Stop
from pipeline.inputs.manifest import size_bytes
from pipeline.labeling.options import LabelOptions
from pipeline.labeling.plan import LabelPlan
from pipeline.messages import best_effort
from pipeline.run.commits import reconcile
from pipeline.run.counts import Counts
from pipeline.run.devices import labeler_device
from pipeline.run.sampled import count_to_label, to_label
from pipeline.run.view_savings import all_views
from pipeline.storage.location import Location
from workers.decoding.types import NVDEC
from workers.failures import ErrorType
from workers.file_history import Files
from workers.machine import usable_cores

# Of what is measured while the graph runs.
LATER = "Labels and tables are not affected; the next run measures anew."


@dataclass(frozen=True)
class GraphRunner:
    """Runs the graph over units that have no row yet, each time with the same settings.

    Attributes:
        plan: of the run.
        options: of the run.
        pools: actors of the run.
        total: units of the run.
        stop: ends the job.
        note: told now and then, from another thread, what the stages have done.
        run_id: identity of the run, see `RunDirectory.lost`.
        files: what the files of the run have cost so far.
    """

    plan: LabelPlan
    options: LabelOptions
    pools: Pools
    total: int
    stop: Stop
    note: Callable[[Stages], None]
    run_id: str | None = None
    files: Files | None = None

    @property
    def graph(self) -> GraphConfig:
        """The settings of the graph."""
        pools, file = self.pools, self.plan.early_exit_file
        return GraphConfig(
            protocol=self.plan.protocol,
            decoder=self.options.decoder,
            limits=self.options.limits,
            labeler=dataclasses.replace(
                self.plan.labeler,
                threads=pools.labeler_threads,
                device=labeler_device(on_gpu=pools.labeler_gpus > 0),
                precision=self.plan.identity.precision or "float32",
            ),
            pools=pools,
            units=self.total,
            accept_changed=self.options.retry_failed,
            shadow_share=self.options.shadow_share,
            early_exit=None if file is None else file.early_exit,
            variants=self.plan.variants,
            files=self.files,
            decode_mode=self.plan.identity.decode,
        )

    @property
    def capacity(self) -> Capacity:
        """What the cluster has for the pools."""
        cluster = cluster_for(max_cpus=self.options.max_cpus, max_gpus=self.options.max_gpus)
        pools, config = self.pools, self.graph
        views = config.grain.label_rows * self.plan.protocol.views
        return Capacity(
            cores=real_cores(cluster.cpus),
            most_decoders=most_decoders(pools, cpus=cluster.cpus, memory=cluster.memory),
            labeler_threads=pools.labeler_threads,
            batch_size=config.batch_size,
            full_batch=default_batch(self.plan.protocol, on_gpu=pools.labeler_gpus > 0),
            views_per_call=views if config.early_exit is None else None,
            decoders_each=pools.most_decoders / pools.decoders[1],
            drivers=pools.drivers,
            driver_per_s=driver_units_per_s(config.grain.decode_rows),
        )

    def run_graph(
        self,
        done: Counts,
        manifest: Location | None = None,
        *,
        part: RunPart | None = None,
        quick: bool = False,
    ) -> Stages:
        """Labels units without a row, and tells what that cost.

        Args:
            done: units that have a row.
            manifest: whose units; None for the run's.
            part: of the run, for its units alone.
            quick: defers units that take long for their bytes, see `DecodeLimits.quick`.
        """
        run, options = self.plan.run, self.options
        assert self.plan.identity.precision is not None, "it is chosen before the run begins"
        config, within = self.graph, None
        config = dataclasses.replace(config, limits=dataclasses.replace(config.limits, quick=quick))
        if part is not None:
            config, within = dataclasses.replace(config, early_exit=part.early_exit), part.within
        identity = self.plan.identity
        units = to_label(run)
        line = ProgressLine(
            self.total,
            done,
            total_bytes=None if identity.has_segments else size_bytes(units),
            what=identity.units_are,
            shadow=all_views(identity),
        )

        def watch(counts: Counts, stages: Stages) -> None:
            try:
                check_failures(options.max_failed, counts, line.total)
            except RunError as error:
                self.stop(error)
            self.note(stages)

        try:
            with reporting(
                line,
                run.root.name,
                watch,
                min_agreement=options.min_agreement,
                drivers=self.pools.drivers,
            ) as report:
                run_drivers(run, config, report, manifest=manifest or units, within=within)
                stages = best_effort("The account of the stages", report.stages, again=LATER)
        except (ray.exceptions.RayError, OSError, RuntimeError, ValueError) as error:
            raise run_failure(error, run, run_id=self.run_id, total=self.total) from error
        reconcile(run)
        known = stages or Stages()
        self.note(known)
        return known.within(decoders=self.pools.most_decoders, labelers=self.pools.labelers)


def pools_for(
    options: LabelOptions,
    plan: LabelPlan | None = None,
    *,
    decoders: int | None = None,
    units: int | None = None,
) -> Pools:
    """Pools for labeling what the plan says; without one, for measuring recordings.

    Args:
        options: of the run.
        plan: of the run.
        decoders: how many, if that was found out.
        units: of the run; None for those that it is to label.

    Raises:
        UsageError: the cluster is too small; the message holds the arithmetic.
    """
    cluster = cluster_for(max_cpus=options.max_cpus, max_gpus=options.max_gpus)
    chosen = None if options.decoders == AUTO else options.decoders
    worth = memory = 0
    further = False
    if plan is not None:
        file = plan.early_exit_file
        further = file is not None and len(plan.protocol.looks()) > 1
        on_gpu = cluster.gpus >= 1
        models = plan.models(shadow=bool(options.shadow_share))
        units = count_to_label(plan.run) if units is None else units
        views = int(units * plan.expected_views)
        worth = labelers_worth_starting(views * (len(plan.variants) or 1))
        memory = labeler_bytes(
            plan.model.architecture,
            plan.protocol,
            on_gpu=on_gpu,
            batch_size=options.batch_size or default_batch(plan.protocol, on_gpu=on_gpu),
            models=models,
        )
    plan_of = partial(
        plan_pools,
        cpus=cluster.cpus,
        gpus=cluster.gpus,
        memory=cluster.memory,
        nodes=cluster.nodes,
        decoders=(decoders, decoders) if decoders is not None else chosen,
        labelers=options.labelers,
        labelers_worth=worth,
        labeler_memory=memory,
        decode_on_gpu=options.decoder == NVDEC,
        further=further,
    )
    if options.drivers is not None or plan is None:
        return plan_of(drivers=options.drivers or 1)
    pools = plan_of()
    drivers = drivers_worth(
        pools,
        cpus=cluster.cpus,
        own_cores=usable_cores(),
        unit_flops=plan.expected_views * plan.model.flops_per_view_of_all,
        block_rows=_grain(plan, options, pools, units or 0).decode_rows,
    )
    return pools if drivers == 1 else plan_of(drivers=drivers)


def _grain(plan: LabelPlan, options: LabelOptions, pools: Pools, units: int) -> Grain:
    # Sizes do not depend on the precision, which is chosen later: on the machine of a labeler.
    plan = plan.with_precision("float32")
    runner = GraphRunner(plan, options, pools, units, Stop(), note=lambda stages: None)
    return runner.graph.grain


def retryable() -> set[str]:
    """Reasons for failing that may be gone by the next attempt."""
    return {str(reason) for reason in ErrorType if reason.retryable}


def check_failures(limit: FailureLimit | None, counts: Counts, total: int) -> None:
    """Raises RunError where too much fails."""
    if limit is not None and limit.is_exceeded(
        failed=counts.failed, done=counts.units, total=total
    ):
        raise RunError(
            f"{counts.failed:,} of {counts.units:,} failed ({counts.reasons()}), more than "
            f"--max-failed {limit} allows for this run of {total:,}",
            advice="Raise --max-failed to go on; or mend the input and add --retry-failed, which "
            f"does {', '.join(sorted(retryable()))} again; for other reasons choose a new OUTPUT.",
        )
