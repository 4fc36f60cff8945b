#!/usr/bin/env python3
"""Write report.html and report.json of a finished run again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.command_line import run_job
from pipeline.errors import UsageError
from pipeline.exit_codes import leave
from pipeline.flags import argument, flag
from pipeline.messages import say, tell

_EPILOG = """\
Exit codes: 0, the report is written; 1, the run's tables cannot be read, or the report cannot be
written; 2, the command was wrong, or the run is not finished."""


@dataclass(frozen=True)
class ReportOptions:
    """What the flags set."""

    run: str = argument("directory or s3://bucket/prefix of a run", metavar="RUN")
    gallery: int = flag(
        "number of videos whose kept tokens the report shows; 0 for none",
        3,
        metavar="N",
    )
    out: str | None = flag(
        "directory or s3://bucket/prefix to write to (default: RUN)", None, metavar="DIR"
    )
    compare_to: str | None = flag(
        "earlier run whose labels, and embeddings where both runs store them, the report compares "
        "with those of RUN (default: the run that the labeling command named)",
        None,
        metavar="OLD_OUTPUT",
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    return run_job(ReportOptions, _write, argv, about=__doc__, epilog=_EPILOG, reads_runs=True)


def _write(options: ReportOptions) -> None:
    from pipeline.reports.run import write_run_report
    from pipeline.reports.run.drift_section import drift_line
    from pipeline.run.run_directory import RunDirectory
    from pipeline.storage.location import Location

    run = RunDirectory(Location.of(options.run))
    out = Location.of(options.out) if options.out else run.root
    if run.exists() and not run.success.exists():
        # Its tables may be of an earlier attempt, and units/ of this one.
        raise UsageError(
            f"the run in {run.root.uri} is not finished; run its labeling command again to "
            "finish it"
        )
    figures = write_run_report(run, gallery=options.gallery, out=out, compare_to=options.compare_to)
    say(drift_line(figures["drift"]))
    tell("\n".join(out.child(name).uri for name in ("report.html", "report.json")))


if __name__ == "__main__":
    leave(main())
