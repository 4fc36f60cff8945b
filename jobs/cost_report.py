#!/usr/bin/env python3
"""Compare the cost and the labels of finished runs over the same videos."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.command_line import run_job
from pipeline.errors import RunError
from pipeline.exit_codes import leave
from pipeline.flags import argument, flag
from pipeline.inputs.demo.runs import PRUNED_RUN, UNPRUNED_FLAGS, UNPRUNED_RUN
from pipeline.messages import tell

_LABEL = Path(__file__).with_name("label_k400.py")
_STDERR = 2

DEMO_FLAGS = (UNPRUNED_FLAGS, ())
DEMO_RUNS = (UNPRUNED_RUN, PRUNED_RUN)

_EPILOG = """\
Without RUN, the job labels the demo archive unpruned and pruned, and compares both runs.

The reference is the first unpruned run, or the first RUN if all are pruned.

`python jobs/plan.py RUN` estimates machines, hours and cost of a larger archive from a finished
run.

Exit codes: 0, the report is written; 1, a table cannot be read, or the report cannot be written;
2, the command was wrong."""


@dataclass(frozen=True)
class CostReportOptions:
    """What the flags set."""

    runs: tuple[str, ...] = argument(
        "directory or s3://bucket/prefix of a finished labeling run; two or more",
        (),
        metavar="RUN",
    )
    prices: Path | None = flag(
        "YAML file with the prices of machines, such as infra/prices.yaml (default: the prices "
        "recorded in the runs, if any)",
        None,
        metavar="FILE",
    )
    out: Path = flag(
        "folder to which report.html, report.md and report.json are written",
        Path("cost_report"),
        metavar="DIR",
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    return run_job(
        CostReportOptions, _compare, argv, about=__doc__, epilog=_EPILOG, reads_runs=True
    )


def _compare(options: CostReportOptions) -> None:
    from pipeline.reports.cost.compare import compare
    from pipeline.reports.cost.writing import screen, write

    found = compare(options.runs or _demo(), prices_file=options.prices)
    page = write(found, options.out)
    tell(f"{screen(found)}\n\nReport:    {page}")


def _demo() -> list[str]:
    """Labels the demo archive unpruned and pruned, each in a process of its own."""
    for flags in DEMO_FLAGS:
        try:
            subprocess.run([sys.executable, str(_LABEL), *flags], check=True, stdout=_STDERR)
        except subprocess.CalledProcessError as error:
            raise RunError(f"labeling the demo archive failed: {error}") from error
    return list(DEMO_RUNS)


if __name__ == "__main__":
    leave(main())
