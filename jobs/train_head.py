#!/usr/bin/env python3
"""Train a classifier of your own labels on the embeddings that a run stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pipeline.command_line import run_job
from pipeline.exit_codes import leave
from pipeline.flags import argument, flag
from pipeline.inputs.list_options import LISTS, ListOptions
from pipeline.messages import tell

_ABOUT = (
    f"{__doc__}\n\nThe head is a linear classifier of the features that the model's own classifier "
    "sees. Its accuracy is measured by cross-validation."
)
_EPILOG = """\
Exit codes: 0, the head is written; 1, the run's tables cannot be read; 2, the command was wrong,
the run stores no embeddings, or the labels are too few."""


@dataclass(frozen=True, kw_only=True)
class TrainHeadOptions(ListOptions):
    """What the flags set."""

    run: str = argument(
        "directory or s3://bucket/prefix of a run that was made with --embeddings",
        metavar="OUTPUT",
    )
    labels: str = argument(
        "list of videos with labels, by video_id or uri: CSV, TSV, JSON, JSON lines, Parquet or "
        "text. `a;b` are two labels",
        metavar="LABELS",
    )
    out: str = flag("file to write", "head.safetensors", short="o", metavar="FILE")
    json: str | None = flag("also write the report as JSON", None, metavar="FILE")
    overwrite: bool = flag("replace files that are there already", False)
    method: Literal["auto", "logistic", "nearest-mean"] = flag(
        "logistic regression, nearest class mean, or auto: what cross-validates better; with "
        "fewer than 5 videos of the median class nearest class mean",
        "auto",
    )
    multi_label: bool | None = flag(
        "a video may have several labels, or none where its label is empty: each class is scored "
        "by itself (default: if a row has `a;b`)",
        None,
    )
    labels_license: str = flag(
        "license of the labels, which the head's file then states", "", metavar="TEXT"
    )
    fps: float | None = None  # a list of labels names no pictures
    seed: int = flag("of the folds and samples of cross-validation", 20231002, metavar="N")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    return run_job(TrainHeadOptions, _train, argv, about=_ABOUT, epilog=_EPILOG, reads_runs=True)


def _train(options: TrainHeadOptions) -> None:
    from pipeline.heads.screen import screen
    from pipeline.heads.train_from_run import HeadTraining, train_from_run

    written = train_from_run(
        HeadTraining(
            output=options.run,
            labels=options.labels,
            dest=options.out,
            report=options.json,
            lists=ListOptions(**{name: getattr(options, name) for name in LISTS}),
            multi_label=options.multi_label,
            method=options.method,
            labels_license=options.labels_license,
            seed=options.seed,
            overwrite=options.overwrite,
        )
    )
    tell(
        screen(
            written.trained.report,
            written.left_out,
            run=options.run,
            dest=options.out,
            size_bytes=written.size_bytes,
        )
    )


if __name__ == "__main__":
    leave(main())
