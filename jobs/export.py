#!/usr/bin/env python3
"""Write a finished run in the format of another tool."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pipeline.command_line import run_job
from pipeline.exit_codes import leave
from pipeline.flags import argument, flag
from pipeline.messages import tell

_EPILOG = """\
Exit codes: 0, all is written; 1, the run's tables cannot be read, or DEST cannot be written; 2,
the command was wrong, the run is not finished, or DEST exists."""


@dataclass(frozen=True)
class ExportOptions:
    """What the flags set."""

    run: str = argument("directory or s3://bucket/prefix of a run", metavar="OUTPUT")
    dest: str = argument(
        "folder to write to, local or s3://bucket/prefix; with --catalog the namespace",
        metavar="DEST",
    )
    to: Literal[
        "fiftyone", "label-studio", "activitynet", "csv", "iceberg", "lance", "delta", "huggingface"
    ] = flag(
        "format: fiftyone (FiftyOneTemporalDetectionDataset), label-studio (tasks with "
        "predictions), activitynet (detections), csv, huggingface (Parquet with a card), or tables "
        "of iceberg, lance or delta",
        metavar="FORMAT",
    )
    overwrite: bool = flag("replace what an earlier export wrote to DEST", False)
    append: bool = flag(
        "iceberg, lance, delta: add this run to the tables in DEST, in place of its own rows if "
        "it was exported before",
        False,
    )
    catalog: str | None = flag(
        "iceberg: a catalog that pyiceberg is configured for (default: a catalog in DEST)",
        None,
        metavar="NAME",
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    return run_job(ExportOptions, _export, argv, about=__doc__, epilog=_EPILOG, reads_runs=True)


def _export(options: ExportOptions) -> None:
    from pipeline.export.export import export
    from pipeline.run.run_directory import RunDirectory
    from pipeline.storage.location import Location

    written = export(
        RunDirectory(Location.of(options.run)),
        options.to,
        options.dest,
        overwrite=options.overwrite,
        append=options.append,
        catalog=options.catalog,
    )
    tell("\n".join(written))


if __name__ == "__main__":
    leave(main())
