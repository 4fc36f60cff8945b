"""The flags of the labeling jobs."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from pipeline.command_line import JobParser, add_flags, argument, flag
from pipeline.labeling.options import FAILURES, MODEL, POOLS, REPORTS, LabelOptions
from pipeline.labeling.pruning_flags import add_pruning_flags

_EPILOG = """\
Without INPUT a small archive is generated and labeled with the demonstration model.
Running the same command again resumes: finished videos are not labeled again.
OUTPUT/run.json holds the flags of a run; `--config OUTPUT/run.json` repeats them.
Exit code: 0, every video has its row (failed ones are named); 2, the command was wrong; 1, the run
could not finish and the same command resumes it, or no video could be labeled."""

_TASKS = {"k400": "Kinetics-400", "ssv2": "Something-Something V2"}
_BUDGET = "budget, with --early-exit"


@dataclass(frozen=True)
class Places:
    """What is labeled, and where the run goes."""

    input: str | None = argument(
        "directory (searched through), s3://bucket/prefix, one video, or a list of videos: "
        "Parquet, CSV, TSV or JSON with uri and optionally video_id and label, or text with "
        "`path label` in each line",
        None,
        metavar="INPUT",
    )
    output: str | None = argument(
        "directory or s3://bucket/prefix of the run", None, metavar="OUTPUT"
    )


@dataclass(frozen=True)
class MoneyFlags:
    """What machines cost, and what a run may spend."""

    prices: Path | None = flag(
        "what machines cost, for the reports: a YAML file such as infra/prices.yaml",
        None,
        metavar="FILE",
        group=REPORTS,
    )

    budget_flops: float | None = flag(
        "multiply-accumulates that labeling may take, such as 2e18; never exceeded: where the "
        "fitted threshold takes more, fewer views are evaluated, and the report says what that "
        "costs in labels (the shadow sample comes on top)",
        None,
        metavar="FLOPS",
        group=_BUDGET,
    )
    budget_cost: float | None = flag(
        "the same in money, for device time and decoding by --prices, in their currency; kept as "
        "far as time can be measured",
        None,
        metavar="MONEY",
        group=_BUDGET,
    )


_WORK = (
    *("protocol", "views", "every_s", "early_exit", "all_files", "limit"),
    *("shadow_share", "min_agreement", "gallery"),
)


def parser(task: str, *, add_help: bool = True) -> argparse.ArgumentParser:
    """The flags of a labeling job; without --help a parent of another job's parser."""
    made = JobParser(
        description=f"Label videos with a token-pruned video transformer, by the {_TASKS[task]}\n"
        "protocol.",
        epilog=_EPILOG,
        add_help=add_help,
    )
    add_flags(made, Places)
    add_flags(made, LabelOptions, MODEL)
    add_pruning_flags(made)
    add_flags(made, LabelOptions, _WORK)
    add_flags(made, MoneyFlags)
    add_flags(made, LabelOptions, (*FAILURES, *POOLS))
    return made
