"""One labeling run from its plan to _SUCCESS."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pipeline.execution.ray_session import check_ray_address, ray_messages_aside, start_ray
from pipeline.execution.stopping import end_on_sigterm
from pipeline.labeling.attempt import LabelRun, asked_fields
from pipeline.labeling.begin import begin
from pipeline.labeling.conclusion import Conclusion, tables_and_report
from pipeline.labeling.graph_runner import retryable
from pipeline.labeling.options import LabelOptions
from pipeline.labeling.plan import LabelPlan
from pipeline.labeling.precision import with_precision
from pipeline.labeling.run_report import draw_report
from pipeline.messages import say
from pipeline.run.lease import held
from pipeline.run.run_directory import RunDirectory
from pipeline.run.run_record import RunRecord


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
    made = conclusion or tables_and_report(options.gallery)
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
    asked = replace(record, **asked_fields(options))
    if asked != record:
        run.save(asked)
        draw_report(run, options.gallery)
    return asked
