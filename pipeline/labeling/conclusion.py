"""The end of a run: its tables, their verification, its report, and _SUCCESS."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from pipeline.errors import RunError
from pipeline.execution.attempts import end_attempt
from pipeline.execution.autosize import discard_sample
from pipeline.execution.stage_stats import fullest
from pipeline.labeling.run_report import draw_report
from pipeline.messages import best_effort
from pipeline.run.run_directory import OpenRun, RunDirectory, now
from pipeline.run.run_record import RunRecord
from pipeline.run.tables import build_tables
from pipeline.run.totals import Totals
from pipeline.verify.verify import verify


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


def tables_and_report(gallery: int) -> Conclusion:
    """What is made of a labeling run; the report shows the kept tokens of `gallery` videos."""
    return Conclusion(
        totals=build_tables,
        problems=lambda run: [
            f"{each.what}: {each.problem}" for each in verify(run) if each.problem
        ],
        report=lambda run: draw_report(run, gallery),
    )


def conclude(run: OpenRun, conclusion: Conclusion, stages: Mapping[str, Any] | None) -> RunRecord:
    """Builds the tables, verifies them, writes the report and _SUCCESS.

    The account of the stages is that of the attempt that labeled most.

    Args:
        run: the run, all of whose units have a row.
        conclusion: what is made of it.
        stages: the account of this attempt's stages; None if it labeled nothing.

    Raises:
        OutputLostError: OUTPUT is gone, or is another run's.
        RunError: the tables do not agree.
    """
    directory, before = run.directory, run.record.totals
    best_effort(
        "Tidying up",
        partial(discard_sample, directory),
        again="Delete the folder _sample in OUTPUT if it is there.",
    )
    run_id = run.record.run_id
    if run_id is not None and (gone := directory.lost(run_id)) is not None:
        raise gone
    totals = conclusion.totals(directory)
    totals.stages = fullest([None if before is None else before.stages, stages])
    run.update(lambda record: replace(end_attempt(record), totals=totals, finished=now()))
    problems = conclusion.problems(directory)
    if problems:
        raise RunError(f"the tables do not agree with each other: {'; '.join(problems)}")
    conclusion.report(directory)
    directory.success.write_bytes(b"", make_folder=False)
    return run.record
