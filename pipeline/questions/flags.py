"""The flags of a question; the others are those of the labeling job."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pipeline.command_line import JobParser
from pipeline.errors import UsageError
from pipeline.flags import add_flags, argument, flag, share
from pipeline.labeling import flags as label_flags
from workers.sampling import parse_views

_ASKED = "question"

# A sample has about as many units as are asked for; of so many, it is never empty.
_FEWEST = 20
_PROXY_VIEWS = (1, 1)
_PROXY = "proxy: a cheap labeling of more videos, which the reference corrects"

_ABOUT = """\
Answer a question about INPUT from a sample of it, with an interval that holds whenever labeling
stops.

Videos are labeled in random order, in rounds, by the unpruned model with all views (the reference),
and more of them by a cheap labeling (the proxy), until the interval is as narrow as --within asks.
OUTPUT/reference and OUTPUT/proxy are runs like any other: the same question goes on from them, and
so does a labeling job."""

_EPILOG = """\
Questions:
  python jobs/ask.py INPUT "share of falling" --checkpoint C --within 0.5
  python jobs/ask.py INPUT "count of falling, jumping" --checkpoint C --confidence 99%
  python jobs/ask.py INPUT "rate of falling per hour" --clip-every 2s --checkpoint C --within 0.2
  python jobs/ask.py list.csv "mean of speed for falling" --by camera --checkpoint C --within 1
  python jobs/ask.py INPUT "share of falling" --against OTHER_INPUT --checkpoint C
  python jobs/ask.py list.csv "share of falling" --by date:month --between 2024-05 2024-06 \
    --checkpoint C
  python jobs/ask.py INPUT "share of falling" --proxy-run LAST_NIGHT --checkpoint C
  python jobs/ask.py INPUT "videos with falling" --recall 0.95 --checkpoint C

Exit codes: 0, the answer is printed; 1, the work could not be finished (ask again to go on), or
--max-reference ended it before the interval was narrow enough; 2, the command was wrong."""


@dataclass(frozen=True)
class AskPlaces:
    """What is asked, of what, and where the runs go."""

    input: str = argument("as of the labeling jobs: directory, prefix, list, ...", metavar="INPUT")
    question: str = argument(
        "such as 'share of LABEL', 'count of LABEL', 'rate of LABEL per hour', 'mean of COLUMN for "
        "LABEL' or 'videos with LABEL'; several labels with commas",
        metavar="QUESTION",
    )
    output: str | None = argument(
        "directory or s3://bucket/prefix of the runs and the answer (default: ask-NAME, in the "
        "working directory)",
        None,
        metavar="OUTPUT",
    )


@dataclass(frozen=True)
class AskFlags:
    """How precisely it is asked, and by which proxy; fields are flags."""

    task: Literal["k400", "ssv2"] = flag("labeling job whose protocol is taken", "k400")
    within: float | None = flag(
        "largest half width of the interval: percentage points of a share or count, or the unit of "
        "the rate or mean (default: 1 point; a rate or a mean has none)",
        None,
        metavar="X",
        group=_ASKED,
    )
    confidence: float = flag(
        "of the intervals, for all rounds, labels, groups and differences together",
        0.95,
        type=share,
        metavar="SHARE",
        group=_ASKED,
    )
    by: str | None = flag(
        "also answer for each group: prefix, the first folder of a video's path, or a column of "
        "the list; COLUMN:day, COLUMN:month and COLUMN:year group dates and times, as ISO 8601 "
        "writes them",
        None,
        metavar="prefix|COLUMN[:day|:month|:year]",
        group=_ASKED,
    )
    between: tuple[str, str] | None = flag(
        "with --by: answer for two of the groups alone, and tell the difference, the first less "
        "the second",
        None,
        metavar=("GROUP", "OTHER_GROUP"),
        group=_ASKED,
    )
    against: str | None = flag(
        "also ask another INPUT, and tell the difference, of each group too that both have",
        None,
        metavar="OTHER_INPUT",
        group=_ASKED,
    )
    recall: float | None = flag(
        "of 'videos with LABEL': share of the videos with the label that the set must hold",
        None,
        type=share,
        metavar="SHARE",
        group=_ASKED,
    )
    max_reference: int | None = flag(
        "stop after about so many units of the reference, however wide the interval is",
        None,
        metavar="N",
        group=_ASKED,
    )
    truth: Path | None = flag(
        "list of labels that people gave, which are the reference; videos that lack one are "
        "written to OUTPUT/to_label.csv, where labels that are filled in count as well",
        None,
        metavar="FILE",
        group=_ASKED,
    )
    json: Path | None = flag("also write the answer to FILE, as JSON", None, metavar="FILE")
    proxy: bool = flag("label by the reference alone", True, name="no-proxy", group=_PROXY)
    proxy_run: str | None = flag(
        "finished run over the same videos, whose scores are the proxy, at no cost: a pruned run, "
        "or what jobs/relabel.py made of stored embeddings with a head that was not trained on "
        "videos of this question's sample; videos that the run lacks have a score of 0",
        None,
        metavar="OUTPUT",
        group=_PROXY,
    )
    proxy_views: tuple[int, int] = flag(
        "clips x crops of the proxy; with --clip-every it has those of the reference (default: "
        "1x1)",
        _PROXY_VIEWS,
        type=parse_views,
        metavar="CxS",
        group=_PROXY,
    )
    proxy_r: int | None = flag(
        "r of the proxy (default: that of the model, which about halves the FLOPs)",
        None,
        metavar="N",
        group=_PROXY,
    )

    def __post_init__(self) -> None:
        if not 0.5 <= self.confidence < 1:
            raise UsageError(
                f"--confidence must be 50 % or more and below 100 %, such as 95%; got "
                f"{self.confidence:g}"
            )
        if self.between is not None:
            self._check_between(*self.between)
        if self.within is not None and not self.within > 0:
            raise UsageError(f"--within must be above 0; got {self.within:g}")
        if self.recall is not None and not 0 < self.recall < 1:
            raise UsageError(
                f"--recall must be above 0 and below 1, such as 0.95; got {self.recall:g}"
            )
        if self.proxy_run is not None:
            own = {
                "--no-proxy": not self.proxy,
                "--proxy-r": self.proxy_r is not None,
                "--proxy-views": self.proxy_views != _PROXY_VIEWS,
            }
            if named := [name for name, given in own.items() if given]:
                raise UsageError(
                    f"{named[0]} does not go with --proxy-run, which has its labels; leave one of "
                    "them out"
                )
        if self.max_reference is not None and self.max_reference < _FEWEST:
            raise UsageError(f"--max-reference must be {_FEWEST} or more; got {self.max_reference}")

    def _check_between(self, one: str, other: str) -> None:
        if self.by is None:
            raise UsageError("--between names two groups of --by, which is missing")
        if self.against is not None:
            raise UsageError("--between and --against are two differences; ask once for each")
        if one == other:
            raise UsageError(f"--between names the group {one!r} twice; name two groups")


def parser() -> argparse.ArgumentParser:
    """The flags of a question and those of the labeling job."""
    made = JobParser(
        parents=[label_flags.parser("k400", add_help=False, places=AskPlaces)],
        conflict_handler="resolve",
        description=_ABOUT,
        epilog=_EPILOG,
    )
    add_flags(made, AskFlags)
    return made
