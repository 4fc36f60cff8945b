"""One labeling run from its plan to _SUCCESS."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
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
from pipeline.errors import RunError, UsageError
from pipeline.execution.attempts import (
    begin_attempt,
    change_pools,
    end_attempt,
    note_devices,
    note_growth,
    note_progress,
)
from pipeline.execution.autosize import (
    Remaining,
    discard_sample,
    fitted_decoders,
    record,
    sample_size,
)
from pipeline.execution.bottleneck import Capacity, bottleneck
from pipeline.execution.durations import with_durations
from pipeline.execution.pools import AUTO, Pools
from pipeline.execution.ray_session import check_ray_address, ray_messages_aside, start_ray
from pipeline.execution.run_failure import run_failure
from pipeline.execution.stage_stats import Stages
from pipeline.execution.stopping import Stop, end_on_sigterm
from pipeline.inputs.listing import Listing
from pipeline.inputs.manifest import count_rows, sampled, write_manifest
from pipeline.inputs.video import Video
from pipeline.labeling.graph_runner import (
    LATER,
    GraphRunner,
    check_failures,
    pools_for,
    retryable,
    units_of,
)
from pipeline.labeling.options import LabelOptions
from pipeline.labeling.plan import LabelPlan, true_labels
from pipeline.messages import best_effort, say
from pipeline.run.commits import committed, reconcile, withdraw_failed
from pipeline.run.devices import STAND_IN, labeler_device
from pipeline.run.lease import held
from pipeline.run.run_directory import RUN_VERSION, RunDirectory, environment, now
from pipeline.run.tables import build_tables
from pipeline.verify.verify import verify

# The second time does what the first left out because a task of an earlier attempt was still
# writing; if units are missing after it, something else is wrong.
_PASSES = 2


@dataclass(frozen=True)
class Conclusion:
    """What a run comes to when every unit has its row.

    Attributes:
        totals: builds what follows from the rows, and adds them up for run.json.
        problems: proves what was built; what contradicts it, in lines.
        report: draws the run's report, and never fails.
    """

    totals: Callable[[RunDirectory], dict[str, Any]]
    problems: Callable[[RunDirectory], list[str]]
    report: Callable[[RunDirectory], None]


def label(
    plan: LabelPlan, options: LabelOptions, conclusion: Conclusion | None = None
) -> dict[str, Any]:
    """Labels every unit that has no row yet and returns the finished run.json.

    `conclusion`: None for that of a labeling run, its tables and its report.

    Raises:
        UsageError: the input or the cluster is not as it must be, or another command is at work.
        RunError: the run could not finish; the same command resumes it.
    """
    stop = Stop()
    end_on_sigterm()

    begun: list[str] = []

    def lost() -> None:
        gone = plan.run.lost(begun[0]) if begun else None
        stop(gone or RunError(f"another command has taken over {plan.run.root.uri}", advice=""))

    check_ray_address()
    plan.run.root.check_writable()
    try:
        # Ray prints on stdout whenever it likes, which is for the result alone.
        with ray_messages_aside(), held(plan.run.root, lost=lost, say=say):
            conclusion = conclusion or _tables_and_report(options.gallery)
            return _label(plan, options, stop, conclusion, begun)
    except KeyboardInterrupt:
        if stop.error is None:
            raise
        raise stop.error from None


def is_finished(run: RunDirectory, *, retry_failed: bool) -> bool:
    """Whether there is nothing to do: all is labeled, and no failure is to be done again."""
    if not run.success.exists():
        return False
    failures = run.load()["totals"]["unit_failures"]
    return not (retry_failed and retryable() & failures.keys())


def finished(run: RunDirectory, options: LabelOptions) -> dict[str, Any]:
    """The run.json of a finished run, with what is asked of it anew, by which its report is drawn
    again.
    """
    content, asked = run.resume(), _asked(options)
    if any(content.get(name) != value for name, value in asked.items()):
        content |= asked
        run.save(content)
        _report(run, options.gallery)
    return content


def _label(
    plan: LabelPlan,
    options: LabelOptions,
    stop: Stop,
    conclusion: Conclusion,
    begun: list[str],
) -> dict[str, Any]:
    """All that happens while the lease is held; the run's identity goes to `begun`."""
    run, began = plan.run, now()
    try:
        start_ray()
        pools_for(options, plan, units=0)  # refuses a cluster that is too small before any work
        content = (run.resume() if run.exists() else begin(plan, options)) | _asked(options)
        content["flags"] = options.flags
        begun.append(content["run_id"])
        pools = pools_for(options, plan)
        _say_stand_in(pools)
        begin_attempt(content, pools, began)
        run.save(content)
        with _ending(run, content, stop):
            say(reconcile(run).line())
            if options.retry_failed:
                if options.budget is not None:
                    check_retry(run, content, options.budget, _labeling(plan))
                _withdraw(run)
            stages = _label_the_rest(plan, options, pools, content, stop)
            return _finish(run, content, stages, conclusion)
    except UsageError:
        raise
    except (pa.ArrowException, OSError, ValueError, ray.exceptions.RayError) as error:
        raise run_failure(error, run, run_id=begun[0] if begun else None) from error


def _say_stand_in(pools: Pools) -> None:
    if pools.labeler_gpus and labeler_device(on_gpu=True) == "cpu":
        say(f"{STAND_IN} is cpu: labelers hold GPUs and compute on CPUs, which is for tests alone.")


def begin(plan: LabelPlan, options: LabelOptions) -> dict[str, Any]:
    """Lists the input, writes the manifest and then run.json, with which the run begins."""
    run, every_s = plan.run, plan.protocol.every_s
    run.manifest.delete_parts()
    labels = plan.true_labels or true_labels(plan, options)
    say(labels.problem())
    listing = Listing(
        options.source,
        all_files=options.all_files,
        report=lambda count: say(f"listed {count:,} so far"),
    )
    videos: Iterator[Video] = islice(listing.videos(), options.limit)
    videos = (dataclasses.replace(each, label=labels.named(each.label)) for each in videos)
    if plan.sample is not None:
        videos = sampled(videos, plan.sample)
    if every_s is not None:
        start_ray()
        videos = with_durations(videos, run, plan.protocol, pools_for(options))
    unit_s = None if every_s is None else plan.protocol.unit_s
    counts = write_manifest(videos, run.manifest, unit_s=unit_s)
    if listing.unread:
        say(f"columns of {options.source} that are not read: {', '.join(listing.unread)}")
    content = {
        "version": RUN_VERSION,
        "created": now(),
        "identity": plan.identity,
        "model": plan.model,
        "listing": counts._asdict() | {"skipped": dict(listing.skipped)},
        "environment": environment(),
    }
    return run.create(content)


def _asked(options: LabelOptions) -> dict[str, Any]:
    """What an attempt may say anew of a run: it changes no row."""
    prices = None if options.prices is None else options.prices.as_json()
    said = {"prices": prices, "min_agreement": options.min_agreement}
    return {name: value for name, value in said.items() if value is not None}


@contextmanager
def _ending(run: RunDirectory, content: dict[str, Any], stop: Stop) -> Iterator[None]:
    """Notes when an attempt that does not finish the run ended, unless the run is another's now."""
    try:
        yield
    except BaseException:
        if stop.error is None:
            end_attempt(content)
            with contextlib.suppress(OSError, RunError):
                run.save(content)
        raise


def _withdraw(run: RunDirectory) -> None:
    """Takes back the failures that may be gone; the run is unfinished from then on."""
    run.success.delete()
    count = withdraw_failed(run, retryable())
    say(f"Doing {count:,} failed units again.")


def _label_the_rest(
    plan: LabelPlan, options: LabelOptions, pools: Pools, content: dict[str, Any], stop: Stop
) -> dict[str, Any] | None:
    """Runs the graph until every unit has its row; what its stages did, if there was any to do."""
    run, total = plan.run, count_rows(plan.run.manifest)

    def note(stages: Stages) -> None:
        note_stages = partial(_note, run, content, stages, stop)
        best_effort("The note of the labelers' device", note_stages, again=LATER)

    passing = GraphRunner(plan, options, total, stop, note, content["run_id"])
    counts = committed(run)
    note_progress(content, units=counts.units)
    if options.decoders == AUTO and counts.units < total:
        remaining = Remaining(total, counts.units, units_of(plan))
        room = passing.room(pools)
        decoders = fitted_decoders(
            run,
            content,
            remaining,
            sample=sample_size(
                plan.protocol, pools, room.batch_size, adaptive=plan.early_exit_file is not None
            ),
            room=room,
            measure=lambda sample: passing.run_graph(pools, counts, sample),
            say=say,
        )
        counts = committed(run)
        if decoders is not None:
            pools = pools_for(options, plan, decoders=decoders)
            change_pools(content, pools)
    accounts: list[dict[str, Any] | None] = []
    for part in _parts(plan, options, pools, content, total):
        for _ in range(_PASSES):
            check_failures(options.max_failed, counts, total)
            if not part.missing(run, counts.units):
                break
            stages = passing.run_graph(pools, counts, part=part)
            counts = committed(run)
            account = partial(_account, content, stages, partial(passing.room, pools))
            accounts.append(best_effort("The account of the stages", account, again=LATER))
            run.save(content)
        if part.missing(run, counts.units):
            break
    check_failures(options.max_failed, counts, total)
    return _fullest(accounts)


def _note(run: RunDirectory, content: dict[str, Any], stages: Stages, stop: Stop) -> None:
    """Writes down what labelers compute on as soon as that is known: an attempt may be killed."""
    if stop.error is None and note_devices(content, stages.label.devices):
        run.save(content)


def _account(
    content: dict[str, Any], stages: Stages, room_of: Callable[[], Capacity]
) -> dict[str, Any]:
    """What the stages did and which holds the run up, for people; what a later attempt goes by is
    kept in run.json's content.
    """
    note_growth(content)
    room = room_of()
    record(content, stages, room)
    return stages.as_json() | {"bottleneck": bottleneck(stages, room)}


def _parts(
    plan: LabelPlan, options: LabelOptions, pools: Pools, content: dict[str, Any], total: int
) -> Iterable[RunPart]:
    """What is labeled in one go: the whole run, or with a budget slice after slice."""
    file = plan.early_exit_file
    if options.budget is None or file is None:
        return [RunPart(None if file is None else file.early_exit, total)]
    return parts_within(plan.run, content, options.budget, file, _labeling(plan))


def _labeling(plan: LabelPlan) -> LabelingProfile:
    return LabelingProfile(views=plan.protocol.views, flops=max_flops_per_view(plan.model))


def _finish(
    run: RunDirectory,
    content: dict[str, Any],
    stages: dict[str, Any] | None,
    conclusion: Conclusion,
) -> dict[str, Any]:
    """Builds what the run comes to, proves it, and writes _SUCCESS.

    The account of the stages is that of the attempt that labeled most.
    """
    best_effort(
        "Tidying up",
        partial(discard_sample, run),
        again="Delete the folder _sample in OUTPUT if it is there.",
    )
    if (lost := run.lost(content["run_id"])) is not None:
        raise lost
    stages = _fullest([content.get("totals", {}).get("stages"), stages])
    totals = conclusion.totals(run) | {"stages": stages}
    end_attempt(content)
    content |= {"totals": totals, "finished": now()}
    run.save(content)
    problems = conclusion.problems(run)
    if problems:
        raise RunError(f"the tables do not hold what they promise: {'; '.join(problems)}")
    conclusion.report(run)
    run.success.write_bytes(b"", make_folder=False)
    return content


def _fullest(accounts: Iterable[dict[str, Any] | None]) -> dict[str, Any] | None:
    """Of several accounts of stages that of most units."""
    return max(filter(None, accounts), key=lambda each: each["label"]["units"], default=None)


def _tables_and_report(gallery: int) -> Conclusion:
    return Conclusion(
        totals=lambda run: dataclasses.asdict(build_tables(run)),
        problems=lambda run: [
            f"{each.what}: {each.problem}" for each in verify(run) if each.problem
        ],
        report=lambda run: _report(run, gallery),
    )


def _report(run: RunDirectory, gallery: int) -> None:
    def draw() -> None:
        # Drawing takes some hundred MB of libraries that nothing before needs.
        from pipeline.reports.run import write_run_report

        write_run_report(run, gallery=gallery)

    best_effort(
        "The report",
        draw,
        again=f"The labels are whole; python jobs/report.py {run.root.uri} tries again.",
    )
