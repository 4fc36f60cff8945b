#!/usr/bin/env python3
"""Train a classifier of your own labels on the embeddings that a run stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pipeline.command_line import run_job
from pipeline.exit_codes import leave
from pipeline.flags import argument, flag
from pipeline.inputs.list_options import ListOptions, delimiter_of
from pipeline.messages import tell

_ABOUT = (
    f"{__doc__}\n\nThe head is a linear classifier of the features that the model's own classifier "
    "sees. Its accuracy is measured by cross-validation."
)
_EPILOG = """\
Exit codes: 0, the head is written; 1, the run's tables cannot be read; 2, the command was wrong,
the run stores no embeddings, or the labels are too few."""
_LISTS = "list of labels"


@dataclass(frozen=True)
class TrainHeadOptions:
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
    seed: int = flag("of the folds and samples of cross-validation", 20231002, metavar="N")
    uri_column: str | None = flag(
        "column with paths or addresses (default: uri, path, file_name, url, ...)",
        None,
        metavar="NAME",
        group=_LISTS,
    )
    label_column: str | None = flag(
        "column with labels (default: label, class, category, ...)",
        None,
        metavar="NAME",
        group=_LISTS,
    )
    id_column: str | None = flag(
        "column with video ids (default: video_id; without one, the uri is the id)",
        None,
        metavar="NAME",
        group=_LISTS,
    )
    delimiter: str | None = flag(
        "character between the cells of a text list, or tab, space, comma, semicolon, pipe "
        "(default: the one that every line fits)",
        None,
        type=delimiter_of,
        metavar="C",
        group=_LISTS,
    )
    video_root: str | None = flag(
        "directory or s3://bucket/prefix where relative paths start (default: the list's folder)",
        None,
        metavar="DIR",
        group=_LISTS,
    )
    skip_bad_lines: bool = flag(
        "leave out rows that cannot be read, and count them; without this flag the first one ends "
        "the command before any work",
        False,
        group=_LISTS,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    return run_job(TrainHeadOptions, _train, argv, about=_ABOUT, epilog=_EPILOG, reads_runs=True)


def _train(options: TrainHeadOptions) -> None:
    from pipeline.heads.screen import screen
    from pipeline.heads.train_from_run import HeadTraining, train_from_run
    from pipeline.storage.location import Location

    root = options.video_root
    written = train_from_run(
        HeadTraining(
            output=options.run,
            labels=options.labels,
            dest=options.out,
            report=options.json,
            lists=ListOptions(
                uri_column=options.uri_column,
                label_column=options.label_column,
                id_column=options.id_column,
                delimiter=options.delimiter,
                video_root=None if root is None else Location.of(root).uri,
                skip_bad_lines=options.skip_bad_lines,
            ),
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
