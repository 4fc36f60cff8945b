#!/usr/bin/env python3
"""Suggest which videos of a run to label next: uncertain, unlike the others, from all clusters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.command_line import run_job
from pipeline.exit_codes import leave
from pipeline.flags import argument, flag
from pipeline.messages import tell

_EPILOG = """\
Examples:
  python jobs/suggest.py OUTPUT -n 200
  python jobs/suggest.py OUTPUT -n 100 --labeled labels.csv --head head.safetensors --out round-2

The job writes a page with a frame of each video, labels.csv with an empty column label to fill in
(jobs/train_head.py reads it), suggest.parquet, and tasks for Label Studio and FiftyOne.

Exit codes: 0, the files are written; 1, the run's tables cannot be read; 2, the command was wrong,
the run stores no embeddings (label with --embeddings), or labels.csv exists."""


@dataclass(frozen=True)
class SuggestOptions:
    """What the flags set."""

    run: str = argument(
        "directory or s3://bucket/prefix of a run that was made with --embeddings",
        metavar="OUTPUT",
    )
    count: int = flag("number of videos", 200, short="n", metavar="N")
    labeled: str | None = flag(
        "list of videos with labels, as jobs/train_head.py reads it: those with a label are not "
        "suggested, and others are chosen far from them",
        None,
        metavar="FILE",
    )
    head: str | None = flag(
        "head of jobs/train_head.py whose predictions count (default: those of the run)",
        None,
        metavar="FILE",
    )
    thumbnails: int = flag("videos of which the page shows a frame", 200, metavar="N")
    out: str | None = flag(
        "folder for the files, local or s3:// (default: suggest/ in OUTPUT)", None, metavar="DIR"
    )
    overwrite: bool = flag("replace the files of an earlier suggestion, labels.csv too", False)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    return run_job(SuggestOptions, _suggest, argv, about=__doc__, epilog=_EPILOG, reads_runs=True)


def _suggest(options: SuggestOptions) -> None:
    from pipeline.search.suggest import SuggestSettings, suggest

    tell(
        suggest(
            SuggestSettings(
                output=options.run,
                count=options.count,
                labeled=options.labeled,
                head=options.head,
                thumbnails=options.thumbnails,
                folder=options.out,
                overwrite=options.overwrite,
            )
        )
    )


if __name__ == "__main__":
    leave(main())
