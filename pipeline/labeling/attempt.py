"""One attempt at a labeling run: prepare it, label what is left, finish it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import pyarrow as pa
import ray

from pipeline.early_exit.budget import (
    LabelingProfile,
    RunPart,
    check_retry,
    max_flops_per_view,
    parts_within,
)
from pipeline.errors import OutputLostError, RunError, UsageError
from pipeline.execution.attempts import (
    begin_attempt,
    change_pools,
    end_attempt,
    note_growth,
    note_machines,
    note_progress,
    note_worst_case,
)
from pipeline.execution.autosize import Remaining, fitted_decoders, sample_size, with_rates
from pipeline.execution.bottleneck import bottleneck
from pipeline.execution.file_history import SharedHistory
from pipeline.execution.pools import AUTO, Pools
from pipeline.execution.ray_session import start_ray
from pipeline.execution.run_failure import run_failure
from pipeline.execution.stage_stats import Stages, fullest
from pipeline.execution.stopping import Stop
from pipeline.execution.worst_case import worst_case
from pipeline.inputs.manifest import count_rows
from pipeline.labeling.begin import begin
from pipeline.labeling.conclusion import Conclusion, conclude
from pipeline.labeling.decoder_check import check_decoder, incomplete_sandbox
from pipeline.labeling.graph_runner import LATER, GraphRunner, check_failures, pools_for, retryable
from pipeline.labeling.options import LabelOptions
from pipeline.labeling.plan import LabelPlan
from pipeline.labeling.precision import with_precision
from pipeline.messages import best_effort, say
from pipeline.run.commits import committed, reconcile, withdraw_failed
from pipeline.run.counts import Counts
from pipeline.run.devices import STAND_IN, labeler_device
from pipeline.run.run_directory import OpenRun, now
from pipeline.run.run_record import RunRecord
from pipeline.run.sampled import delete_sample, folder_to_label, to_label
from workers.failures import ErrorType


class LabelRun:
    """One attempt at a run: prepare it, label what is left, finish it.

    Attributes:
        stop: ends the attempt from another thread.
    """

    def __init__(
        self,
        plan: LabelPlan,
        options: LabelOptions,
        conclusion: Conclusion,
        sample: str | None = None,
    ) -> None:
        self.stop = Stop()
        self._sample = sample
        self._plan = plan
        self._options = options
        self._conclusion = conclusion
        self._directory = plan.run
        self._run_id: str | None = None

    def lost(self) -> None:
        """Ends the attempt since another command holds the run's lease."""
        gone = None if self._run_id is None else self._directory.lost(self._run_id)
        taken = f"another command has taken over {self._directory.root.uri}"
        self.stop(gone or RunError(taken, advice=""))

    def to_success(self) -> RunRecord:
        """Does all that is done while the lease is held; returns the record of the finished run."""
        try:
            run, graph = self._prepare()
            with self._ending(run):
                say(reconcile(self._directory).line())
                if self._options.retry_failed:
                    self._withdraw_failed(run)
                stages = self._label_rest(run, graph)
                return conclude(run, self._conclusion, stages)
        except UsageError:
            raise
        except (pa.ArrowException, OSError, ValueError, ray.exceptions.RayError) as error:
            raise run_failure(error, self._directory, run_id=self._run_id) from error

    def _prepare(self) -> tuple[OpenRun, GraphRunner]:
        """Begins or resumes the run, chooses its pools, and records the attempt."""
        plan, options, began = self._plan, self._options, now()
        check_decoder(options.decoder)
        start_ray(drivers=options.drivers or 1)
        exists = self._directory.exists()
        recorded = self._directory.load().identity.precision if exists else None
        plan = with_precision(plan.with_precision(recorded), options)
        pools_for(options, plan, units=0)  # refuses a cluster that is too small before any work
        record = self._directory.resume() if exists else begin(plan, options)
        self._run_id = record.run_id
        units = folder_to_label(self._directory, self._sample)
        total = count_rows(units)
        pools = pools_for(options, plan, units=total)
        if pools.labeler_gpus and labeler_device(on_gpu=True) == "cpu":
            say(f"{STAND_IN} is cpu: labelers hold GPUs and compute on CPUs, which is for tests.")
        run = OpenRun(self._directory, record)
        is_other = record.sample != self._sample
        if is_other:
            self._directory.success.delete()
        asked = asked_fields(options) | {"flags": options.flags, "sample": self._sample}
        run.update(lambda record: begin_attempt(replace(record, **asked), pools, began))
        if is_other:
            delete_sample(self._directory, record.sample)
        note = partial(self._note, run)
        best_effort("The worst case", partial(self._note_worst_case, run, pools), again=LATER)
        files = SharedHistory.start(drivers=pools.drivers)
        return run, GraphRunner(plan, options, pools, total, self.stop, note, self._run_id, files)

    @contextmanager
    def _ending(self, run: OpenRun) -> Iterator[None]:
        """Records when an attempt that fails ended, unless another command holds the run now."""
        try:
            yield
        except BaseException:
            if self.stop.error is None:
                with contextlib.suppress(OSError, RunError):
                    run.update(end_attempt)
            raise

    def _withdraw_failed(self, run: OpenRun) -> None:
        """Deletes the rows of failures that may be gone; the run is unfinished from then on."""
        if self._options.budget is not None:
            check_retry(run, self._options.budget, self._profile())
        self._directory.success.delete()
        count = withdraw_failed(self._directory, retryable())
        say(f"Labeling {count:,} failed units again.")

    def _label_rest(self, run: OpenRun, graph: GraphRunner) -> Mapping[str, Any] | None:
        """Runs the graph until every unit has its row; tells what its stages did, if anything."""
        directory, total = self._directory, graph.total
        counts = committed(directory)
        run.update(partial(note_progress, units=counts.units))
        if self._options.decoders == AUTO and counts.units < total:
            graph = self._with_fitted_decoders(run, graph, counts)
            counts = committed(directory)
        accounts: list[Mapping[str, Any] | None] = []
        for part in self._parts(run, graph):
            for quick in _passes(part, graph.pools):
                check_failures(self._options.max_failed, counts, total)
                missing = part.missing(directory, counts.units)
                if not missing:
                    break
                if quick and missing == counts.deferred:
                    continue  # an earlier attempt ended between the passes
                if not quick and (
                    deferred := withdraw_failed(directory, [str(ErrorType.deferred)])
                ):
                    say(
                        f"Decoding {deferred:,} {self._plan.identity.units_are} that take long for "
                        "their size and were left for the end."
                    )
                stages = graph.run_graph(counts, part=part, quick=quick)
                counts = committed(directory)
                account = partial(_account, run, stages, graph)
                accounts.append(best_effort("The account of the stages", account, again=LATER))
            if part.missing(directory, counts.units):
                break
        check_failures(self._options.max_failed, counts, total)
        return fullest(accounts)

    def _with_fitted_decoders(
        self, run: OpenRun, graph: GraphRunner, counts: Counts
    ) -> GraphRunner:
        """The graph with as many decoders as keep the labelers busy, by a sample of the units."""
        capacity = graph.capacity
        decoders = fitted_decoders(
            run,
            Remaining(graph.total, counts.units, self._plan.identity.units_are),
            sample=sample_size(
                self._plan.protocol,
                graph.pools,
                capacity.batch_size,
                adaptive=self._plan.early_exit_file is not None,
            ),
            capacity=capacity,
            measure=partial(graph.run_graph, counts),
            say=say,
        )
        if decoders is None:
            return graph
        pools = pools_for(self._options, self._plan, decoders=decoders)
        run.update(partial(change_pools, pools=pools))
        return replace(graph, pools=pools)

    def _parts(self, run: OpenRun, graph: GraphRunner) -> Iterable[RunPart]:
        """What is labeled in one go: the whole run, or with a budget slice after slice."""
        file, budget = self._plan.early_exit_file, self._options.budget
        if budget is None or file is None or not graph.total:
            return [RunPart(None if file is None else file.early_exit, graph.total)]
        return parts_within(run, budget, file, self._profile())

    def _profile(self) -> LabelingProfile:
        plan = self._plan
        return LabelingProfile(plan.protocol.views, max_flops_per_view(plan.model))

    def _note(self, run: OpenRun, stages: Stages) -> None:
        """Records what is known of the actors' machines at once: an attempt may be killed."""

        def note() -> None:
            # Whoever writes rows finds a lost OUTPUT too, and ends the run with its reason.
            with contextlib.suppress(OutputLostError):
                if self.stop.error is None:
                    run.update(partial(note_machines, stages=stages))

        missing = set(stages.decode.missing) - set(run.record.attempts[-1].missing_sandbox)
        if missing:
            say(incomplete_sandbox(missing, self._options.decoder))
        best_effort("The note of the actors' machines", note, again=LATER)

    def _note_worst_case(self, run: OpenRun, pools: Pools) -> None:
        """Records how long hostile files could keep the attempt's decoders."""
        worst = worst_case(
            to_label(self._directory),
            self._options.limits,
            pools.most_decoders,
            looks=len(self._plan.protocol.looks()) if pools.further_decoders else 1,
        )
        run.update(partial(note_worst_case, worst=worst))


def _passes(part: RunPart, pools: Pools) -> tuple[bool, bool]:
    """Whether each pass over the units of a part is quick: not where no unit has to wait, and not
    for a slice, whose rows are charged to a budget.

    The second pass does what the first deferred, and what it left out because a task of an earlier
    attempt was still writing; if units are missing after it, something else is wrong.
    """
    return part.within is None and part.units > pools.decoders[1], False


def asked_fields(options: LabelOptions) -> dict[str, Any]:
    """Fields of the record that an attempt may change: they change no row."""
    said = {
        "prices": options.prices,
        "min_agreement": options.min_agreement,
        "compare_to": options.reports.reference,
    }
    return {name: value for name, value in said.items() if value is not None}


def _account(run: OpenRun, stages: Stages, graph: GraphRunner) -> Mapping[str, Any]:
    """What the stages did and which holds the run up, for people; the rates that a later attempt
    goes by are recorded.
    """
    capacity = graph.capacity
    run.update(lambda record: with_rates(note_growth(record), stages, capacity))
    return stages.as_json() | {"bottleneck": bottleneck(stages, capacity)}
