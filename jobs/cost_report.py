#!/usr/bin/env python3
"""Compare finished runs over the same videos: what they cost, and how far their labels agree."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import pyarrow as pa

from pipeline.command_line import JobParser
from pipeline.errors import UsageError
from pipeline.inputs.demo.runs import PRUNED_RUN, UNPRUNED_FLAGS, UNPRUNED_RUN
from pipeline.reports.cost.compare import compare
from pipeline.reports.cost.writing import screen, write

_LABEL = Path(__file__).with_name("label_k400.py")
_STDERR = 2

DEMO_FLAGS = (UNPRUNED_FLAGS, ())
DEMO_RUNS = (UNPRUNED_RUN, PRUNED_RUN)

_EPILOG = """\
Without RUN the demonstration archive is labeled unpruned and pruned, and both are compared.
The reference is the first unpruned run, else the first named.
`python jobs/plan.py RUN` plans machines, hours and price of a larger archive from a finished run.
Exit code: 0, the report is written; 2, the command was wrong; 1, otherwise."""


def main() -> int:
    """Writes the report and prints a short one."""
    arguments = _parser().parse_args()
    try:
        runs = arguments.runs or _demo()
        found = compare(runs, prices_file=arguments.prices)
        page = write(found, arguments.out)
    except (OSError, pa.ArrowException) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    except (UsageError, ValueError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except subprocess.CalledProcessError as error:
        print(f"error: labeling the demonstration failed: {error}", file=sys.stderr)
        return 1
    print(screen(found))
    print(f"\nReport:    {page}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = JobParser(
        description=__doc__, epilog=_EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "runs",
        nargs="*",
        metavar="RUN",
        help="OUTPUT of a labeling run, directory or s3://bucket/prefix; two or more",
    )
    parser.add_argument(
        "--prices",
        type=Path,
        metavar="FILE",
        help="YAML of gpu_hour, core_hour and so on, such as infra/prices.yaml (default: those "
        "that the runs were given; without any there is no money in the report)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("cost_report"),
        metavar="DIR",
        help="folder of report.html, report.md and report.json (default: %(default)s)",
    )
    return parser


def _demo() -> list[str]:
    """Labels the demonstration archive unpruned and pruned, each in a process of its own."""
    for flags in DEMO_FLAGS:
        subprocess.run([sys.executable, str(_LABEL), *flags], check=True, stdout=_STDERR)
    return list(DEMO_RUNS)


if __name__ == "__main__":
    sys.exit(main())
