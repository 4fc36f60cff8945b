#!/usr/bin/env python3
"""Check a finished run: every unit has one row, and all tables agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.command_line import run_job
from pipeline.exit_codes import leave
from pipeline.flags import argument
from pipeline.messages import tell

_EPILOG = "Exit codes: 0, all checks passed; 1, a check failed; 2, there is no finished run."


@dataclass(frozen=True)
class VerifyOptions:
    """What the flags set."""

    output: str = argument("directory or s3://bucket/prefix of a run", metavar="OUTPUT")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    return run_job(VerifyOptions, _verify, argv, about=__doc__, epilog=_EPILOG, reads_runs=True)


def _verify(options: VerifyOptions) -> int:
    from pipeline.run.run_directory import RunDirectory
    from pipeline.storage.location import Location
    from pipeline.verify.verify import report, verify

    checks = verify(RunDirectory(Location.of(options.output)))
    tell(report(checks))
    return int(any(check.problem for check in checks))


if __name__ == "__main__":
    leave(main())
