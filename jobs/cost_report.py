#!/usr/bin/env python3
"""Compare finished runs over the same videos: their cost, and how far their labels agree."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.command_line import argument, flag, run_job
from pipeline.errors import RunError
from pipeline.exit_codes import leave
from pipeline.inputs.demo.runs import PRUNED_RUN, UNPRUNED_FLAGS, UNPRUNED_RUN
from pipeline.messages import tell

_LABEL = Path(__file__).with_name("label_k400.py")
_STDERR = 2

DEMO_FLAGS = (UNPRUNED_FLAGS, ())
DEMO_RUNS = (UNPRUNED_RUN, PRUNED_RUN)

_EPILOG = """\
Without RUN the demonstration archive is labeled unpruned and pruned, and both are compared.
The reference is the first unpruned run, else the first named.
`python jobs/plan.py RUN` plans machines, hours and price of a larger archive from a finished run.
Exit code: 0, the report is written; 2, the command was wrong; 1, tables cannot be read, or the
report cannot be written."""


@dataclass(frozen=True)
class Options:
    """What the flags set."""

    runs: tuple[str, ...] = argument(
        "OUTPUT of a labeling run, directory or s3://bucket/prefix; two or more",
        (),
        metavar="RUN",
    )
    prices: Path | None = flag(
        "YAML of gpu_hour, core_hour and so on, such as infra/prices.yaml (default: the prices "
        "that the runs were given; without any the report shows no money)",
        None,
        metavar="FILE",
    )
    out: Path = flag(
        "folder of report.html, report.md and report.json", Path("cost_report"), metavar="DIR"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    return run_job(Options, _compare, argv, about=__doc__, epilog=_EPILOG, reads_runs=True)


def _compare(options: Options) -> None:
    from pipeline.reports.cost.compare import compare
    from pipeline.reports.cost.writing import screen, write

    found = compare(options.runs or _demo(), prices_file=options.prices)
    page = write(found, options.out)
    tell(f"{screen(found)}\n\nReport:    {page}")


def _demo() -> list[str]:
    """Labels the demonstration archive unpruned and pruned, each in a process of its own."""
    for flags in DEMO_FLAGS:
        try:
            subprocess.run([sys.executable, str(_LABEL), *flags], check=True, stdout=_STDERR)
        except subprocess.CalledProcessError as error:
            raise RunError(f"labeling the demonstration failed: {error}") from error
    return list(DEMO_RUNS)


if __name__ == "__main__":
    leave(main())
