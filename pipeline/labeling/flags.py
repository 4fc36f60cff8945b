"""The flags of the labeling jobs."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.command_line import JobParser
from pipeline.flags import add_flags, argument, flag
from pipeline.inputs.list_options import ListOptions
from pipeline.labeling.embedding_flags import EmbeddingFlags
from pipeline.labeling.machine_flags import MachineFlags
from pipeline.labeling.options import FAILURES, INPUTS, MODEL, LabelOptions
from pipeline.labeling.pruning_flags import PruningFlags
from pipeline.labeling.report_flags import REPORTS, ReportFlags

_EPILOG = """\
Without INPUT, the job generates a small archive and labels it with the demo model.

To resume a run, run the same command again: finished videos are not labeled again.

OUTPUT/run.json records the flags of a run; `--config OUTPUT/run.json` reuses them.

Exit codes: 0, every video has a row (failed videos have a reason); 1, the run could not finish
(run the same command again to resume), or no video could be labeled; 2, the command was wrong."""

_TASKS = {"k400": "Kinetics-400", "ssv2": "Something-Something V2"}
_BUDGET = "budget, with --early-exit"


@dataclass(frozen=True)
class Places:
    """What is labeled, and where the run goes."""

    input: str | None = argument(
        "directory (searched recursively), s3://bucket/prefix (or gs://, az://, abfss://), one "
        "video (also https://), a tar archive of videos (.tar, .tar.gz), a pattern such as "
        "'shard-{000..999}.tar', or a list of videos: "
        "Parquet, CSV, TSV or JSON with uri and optionally video_id and label, or text with "
        "`path label` in each line",
        None,
        metavar="INPUT",
    )
    output: str | None = argument(
        "directory or s3://bucket/prefix (or gs://, az://, abfss://) of the run",
        None,
        metavar="OUTPUT",
    )


@dataclass(frozen=True)
class MoneyFlags:
    """What machines cost, and what a run may spend."""

    prices: Path | None = flag(
        "YAML file with the prices of machines, such as infra/prices.yaml, for the reports",
        None,
        metavar="FILE",
        group=REPORTS,
    )

    budget_flops: float | None = flag(
        "limit on the multiply-accumulates of labeling, such as 2e18, which is never exceeded: if "
        "the fitted threshold needs more, fewer views are evaluated, and the report estimates "
        "how many labels that changes (the shadow sample is not counted)",
        None,
        metavar="FLOPS",
        group=_BUDGET,
    )
    budget_cost: float | None = flag(
        "limit on the cost of device time and decoding, in the currency of --prices; kept as "
        "closely as time can be measured",
        None,
        metavar="MONEY",
        group=_BUDGET,
    )


_WORK = (
    *("protocol", "views", "every_s", "max_units_per_video", "early_exit", *INPUTS),
    *("decode", "since", "limit", "shadow_share", "min_agreement", "gallery"),
)


def parser(
    task: str, *, add_help: bool = True, places: type[Any] = Places
) -> argparse.ArgumentParser:
    """The flags of a labeling job; without --help a parent of another job's parser.

    `places`: dataclass of the arguments without a flag, `input` and `output` among them.
    """
    made = JobParser(
        description=f"Label videos with a token-pruned video transformer and the {_TASKS[task]} "
        "protocol.",
        epilog=_EPILOG,
        add_help=add_help,
    )
    add_flags(made, places)
    add_flags(made, LabelOptions, MODEL)
    add_flags(made, PruningFlags)
    add_flags(made, EmbeddingFlags)
    add_flags(made, LabelOptions, _WORK)
    add_flags(made, ListOptions)
    add_flags(made, ReportFlags)
    add_flags(made, MoneyFlags)
    add_flags(made, LabelOptions, FAILURES)
    add_flags(made, MachineFlags)
    return made
