#!/usr/bin/env python3
"""Find videos that are like one, or near-duplicates, by the embeddings that a run stores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.command_line import run_job
from pipeline.exit_codes import leave
from pipeline.flags import argument, flag
from pipeline.messages import tell

_EPILOG = """\
Examples:
  python jobs/find.py OUTPUT --like holiday.mp4 -k 20
  python jobs/find.py OUTPUT --like holiday.mp4@12.5
  python jobs/find.py OUTPUT --like holiday.mp4@12.5 --index embeddings-lance
  python jobs/find.py OUTPUT --duplicates 0.98

VIDEO alone is compared as a whole: the mean of its views with the means of other videos. With
@SECONDS, the view of that time, or else the nearest to it, is compared with all views of other
videos, and each video counts by its nearest one. Duplicates are pairs of means whose cosine reaches
COSINE, and what chains of pairs connect.

Exit codes: 0, the files are written; 1, the run's tables cannot be read; 2, the command was wrong,
or the run stores no embeddings (label with --embeddings)."""


@dataclass(frozen=True)
class FindOptions:
    """What the flags set."""

    run: str = argument(
        "directory or s3://bucket/prefix of a run that was made with --embeddings",
        metavar="OUTPUT",
    )
    like: str | None = flag(
        "id, uri or path of a video of the run, and @ with a time in seconds for one moment",
        None,
        metavar="VIDEO[@SECONDS]",
    )
    duplicates: float | None = flag(
        "find groups of videos with a cosine of this or more, such as 0.98", None, metavar="COSINE"
    )
    count: int = flag("number of similar videos", 20, name="count", short="k", metavar="N")
    exact: bool = flag(
        "--duplicates: compare all pairs, however long it takes (default: above 140,000 videos "
        "that cannot be told apart fast, those in neighboring cells, with a measured recall)",
        False,
    )
    index: str | None = flag(
        "--like: folder of Lance datasets of the embeddings, local or s3://, made when it is first "
        "named. Faster from then on, and finds nearly the same videos; needs the extra lance",
        None,
        metavar="DIR",
    )
    thumbnails: int = flag("videos of which the page shows a frame", 100, metavar="N")
    out: str | None = flag(
        "folder for the page (.html) and the table (.parquet), local or s3:// (default: find/ in "
        "OUTPUT)",
        None,
        metavar="DIR",
    )
    json: str | None = flag("also write the results as JSON", None, metavar="FILE")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    return run_job(FindOptions, _find, argv, about=__doc__, epilog=_EPILOG, reads_runs=True)


def _find(options: FindOptions) -> None:
    from pipeline.search.find import Search, find

    tell(
        find(
            Search(
                output=options.run,
                like=options.like,
                duplicates=options.duplicates,
                k=options.count,
                exact=options.exact,
                index=options.index,
                thumbnails=options.thumbnails,
                folder=options.out,
                json=options.json,
            )
        )
    )


if __name__ == "__main__":
    leave(main())
