"""One labeling run from its plan to _SUCCESS."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
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
from pipeline.execution.autosize import (
    Remaining,
    discard_sample,
    fitted_decoders,
    sample_size,
    with_rates,
)
from pipeline.execution.bottleneck import bottleneck
from pipeline.execution.file_history import SharedHistory
from pipeline.execution.pools import AUTO, Pools
from pipeline.execution.ray_session import check_ray_address, ray_messages_aside, start_ray
from pipeline.execution.run_failure import run_failure
from pipeline.execution.stage_stats import Stages
from pipeline.execution.stopping import Stop, end_on_sigterm
from pipeline.execution.worst_case import worst_case
from pipeline.inputs.manifest import count_rows
from pipeline.labeling.begin import begin
from pipeline.labeling.graph_runner import LATER, GraphRunner, check_failures, pools_for, retryable
from pipeline.labeling.options import LabelOptions
from pipeline.labeling.plan import LabelPlan
from pipeline.labeling.precision import with_precision
from pipeline.labeling.run_report import draw_report
from pipeline.messages import best_effort, say
from pipeline.run.commits import committed, reconcile, withdraw_failed
from pipeline.run.counts import Counts
from pipeline.run.devices import STAND_IN, labeler_device
from pipeline.run.lease import held
from pipeline.run.run_directory import OpenRun, RunDirectory, now
from pipeline.run.run_record import RunRecord
from pipeline.run.sampled import delete_sample, folder_to_label, to_label
from pipeline.run.tables import build_tables
from pipeline.run.totals import Totals
from pipeline.verify.verify import verify
from workers.decoding.restrictions import WITHOUT_FOR_GPU
from workers.decoding.types import NVDEC
from workers.failures import ErrorType


@dataclass(frozen=True)
class Conclusion:
    """What is made of a run when every unit has its row.

    Attributes:
        totals: builds the tables that follow from the rows, and adds them up.
        problems: verifies them; one line per problem.
        report: writes the run's report; never raises.
    """

    totals: Callable[[RunDirectory], Totals]
    problems: Callable[[RunDirectory], list[str]]
    report: Callable[[RunDirectory], None]


def label(
    plan: LabelPlan,
    options: LabelOptions,
    conclusion: Conclusion | None = None,
    *,
    sample: str | None = None,
) -> RunRecord:
    """Labels every unit that has no row yet and returns the record of the finished run.

    Args:
        plan: the run.
        options: what the user asked for.
        conclusion: None for that of a labeling run, its tables and its report.
        sample: labels a sample alone, of `write_sample`; the run is finished then, and any larger
            sample, or a whole run, goes on from it. None for all units.

    Raises:
        UsageError: the input or the cluster cannot be used, or another command holds the run.
        RunError: the run could not finish; the same command resumes it.
    """
    end_on_sigterm()
    check_ray_address()
    plan.run.root.check_writable()
    made = conclusion or _tables_and_report(options.gallery)
    run = LabelRun(plan, options, made, sample)
    try:
        # Ray prints on stdout whenever it likes, which is for the result alone.
        with ray_messages_aside(), held(plan.run.root, lost=run.lost, say=say):
            return run.to_success()
    except KeyboardInterrupt:
        if run.stop.error is None:
            raise
        raise run.stop.error from None


def begin_run(plan: LabelPlan, options: LabelOptions, *, read: Sequence[str] = ()) -> RunRecord:
    """Lists the input and writes the manifest and run.json of a run that does not exist, and labels
    nothing yet.

    `read`: as in `begin`.

    Raises:
        UsageError: the input or the cluster cannot be used.
    """
    end_on_sigterm()
    check_ray_address()
    plan.run.root.check_writable()
    with ray_messages_aside(), held(plan.run.root, lost=lambda: None, say=say):
        start_ray(drivers=options.drivers or 1)
        return begin(with_precision(plan, options), options, read=read)


def is_finished(run: RunDirectory, *, retry_failed: bool) -> bool:
    """Whether all is labeled, and no failed unit is to be labeled again."""
    if not run.success.exists() or run.load().sample is not None:
        return False
    return not (retry_failed and retryable() & run.load().finished_totals.unit_failures.keys())


def finished(run: RunDirectory, options: LabelOptions) -> RunRecord:
    """The record of a finished run; where prices, the wanted agreement or the reference run are
    new, they are saved and the report is written again.
    """
    record = run.resume()
    asked = replace(record, **_asked(options))
    if asked != record:
        run.save(asked)
        draw_report(run, options.gallery)
    return asked


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
                return self._finish(run, stages)
        except UsageError:
            raise
        except (pa.ArrowException, OSError, ValueError, ray.exceptions.RayError) as error:
            raise run_failure(error, self._directory, run_id=self._run_id) from error

    def _prepare(self) -> tuple[OpenRun, GraphRunner]:
        """Begins or resumes the run, chooses its pools, and records the attempt."""
        plan, options, began = self._plan, self._options, now()
        _check_decoder(options.decoder)
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
        asked = _asked(options) | {"flags": options.flags, "sample": self._sample}
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
        return _fullest(accounts)

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
            say(_incomplete_sandbox(missing, self._options.decoder))
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

    def _finish(self, run: OpenRun, stages: Mapping[str, Any] | None) -> RunRecord:
        """Builds the tables, verifies them, writes the report and _SUCCESS.

        The account of the stages is that of the attempt that labeled most.
        """
        directory, before = self._directory, run.record.totals
        best_effort(
            "Tidying up",
            partial(discard_sample, directory),
            again="Delete the folder _sample in OUTPUT if it is there.",
        )
        if self._run_id is not None and (gone := directory.lost(self._run_id)) is not None:
            raise gone
        totals = self._conclusion.totals(directory)
        totals.stages = _fullest([None if before is None else before.stages, stages])
        run.update(lambda record: replace(end_attempt(record), totals=totals, finished=now()))
        problems = self._conclusion.problems(directory)
        if problems:
            raise RunError(f"the tables do not agree with each other: {'; '.join(problems)}")
        self._conclusion.report(directory)
        directory.success.write_bytes(b"", make_folder=False)
        return run.record


def _incomplete_sandbox(missing: set[str], decoder: str) -> str:
    parts = " and ".join(sorted(missing))
    if decoder == NVDEC and missing >= set(WITHOUT_FOR_GPU):
        return (
            f"--decoder {NVDEC}: the decoders' sandbox goes without {parts}, since a GPU's driver "
            f"opens files and maps memory as long as it runs."
        )
    return (
        f"The decoders' sandbox is incomplete: the kernel of a machine lacks {parts}. "
        f"--require-sandbox refuses such machines."
    )


def _check_decoder(name: str) -> None:
    """Refuses an old FFmpeg and a decoder that is not there; tells that decord's FFmpeg is old.

    Raises:
        UsageError: PyAV's FFmpeg is too old or without NVDEC, or decord is not installed.
    """
    from workers.decoding import codecs, decord, nvdec  # load FFmpeg, which only actors need

    try:
        codecs.check_ffmpeg()
        if name == "decord":
            decord.require()
        if name == NVDEC:
            nvdec.require()
    except ImportError as error:
        raise UsageError(str(error)) from None
    if name == "decord":
        say(
            "--decoder decord: decord 0.6.0 bundles FFmpeg 4.1.6, which has had no security fixes "
            "since 2020. Only H.264, HEVC, VP8 and VP9 reach it; --decoder pyav is safer."
        )


def _passes(part: RunPart, pools: Pools) -> tuple[bool, bool]:
    """Whether each pass over the units of a part is quick: not where no unit has to wait, and not
    for a slice, whose rows are charged to a budget.

    The second pass does what the first deferred, and what it left out because a task of an earlier
    attempt was still writing; if units are missing after it, something else is wrong.
    """
    return part.within is None and part.units > pools.decoders[1], False


def _asked(options: LabelOptions) -> dict[str, Any]:
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


def _fullest(accounts: Iterable[Mapping[str, Any] | None]) -> Mapping[str, Any] | None:
    """Of several accounts of stages that of most units."""
    return max(filter(None, accounts), key=lambda each: each["label"]["units"], default=None)


def _tables_and_report(gallery: int) -> Conclusion:
    return Conclusion(
        totals=build_tables,
        problems=lambda run: [
            f"{each.what}: {each.problem}" for each in verify(run) if each.problem
        ],
        report=lambda run: draw_report(run, gallery),
    )
