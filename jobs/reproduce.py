#!/usr/bin/env python3
"""Compare the paper's figures with those of this code."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.command_line import JobParser
from pipeline.errors import UsageError
from pipeline.exit_codes import exit_code, leave
from pipeline.flags import add_flags, argument, flag, options_of
from pipeline.messages import tell

_DEMO_VIDEOS = 48
_EXIT_CODES = "Exit codes: 0, the table is printed; 2, the command was wrong."


@dataclass(frozen=True)
class ReproduceOptions:
    """What the flags of a measure set."""

    input: str | None = argument(
        "directory, s3://bucket/prefix, one video, or a manifest (default: a generated "
        "demo archive)",
        None,
        metavar="INPUT",
    )
    checkpoint: str | None = flag("fine-tuned weights of a ViT, or demo", None, metavar="C")
    architecture: str | None = flag(
        "required architecture; a checkpoint of another one is refused",
        None,
        name="arch",
        metavar="A",
    )
    labels: Path | None = flag(
        "file of class names, for checkpoints that contain none", None, metavar="F"
    )
    label_map: Path | None = flag(
        "file that maps the checkpoint's classes to other labels", None, metavar="F"
    )
    r: int | None = flag(
        "tokens pruned per frame at the first of three stages (default: as in the labeling jobs)",
        None,
        metavar="N",
    )
    videos: int = flag("number of videos of INPUT, chosen by a hash", _DEMO_VIDEOS, metavar="N")


@dataclass(frozen=True)
class ComparisonOptions:
    """What the flags of the comparison set."""

    out: Path = flag("folder of the page", Path("reproduce"), metavar="DIR")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code."""

    def work() -> int:
        arguments = _parser().parse_args(argv)
        if arguments.what == "tables":
            return _tables()
        if arguments.what == "compare":
            return _compare(options_of(ComparisonOptions, arguments))
        _measure(arguments.what, options_of(ReproduceOptions, arguments))
        return 0

    return exit_code(work, resumes=False)


def _parser() -> argparse.ArgumentParser:
    parser = JobParser(description=__doc__, config=False)
    parts = parser.add_subparsers(dest="what", required=True, metavar="WHAT")
    parts.add_parser(
        "tables",
        help="FLOPs of Tables 2 and 3",
        description="Count the FLOPs of Tables 2 and 3.",
        epilog="Exit codes: 0, every cell is within the tolerance of its table; 1, a cell is not.",
    )
    part = parts.add_parser(
        "compare",
        help="Tables 4 and 5: STA among other systems, and models that came later",
        description="Print Tables 4 and 5 with the FLOPs that this code counts, and write a page.",
        epilog="Exit codes: 0, every count agrees with the paper; 1, one does not; 2, the command "
        "was wrong.",
    )
    add_flags(part, ComparisonOptions)
    for name, about in (
        ("trajectory", "Measure the trajectory sums of Table 1 (equation 6)"),
        ("gradnorm", "Measure the GradNorm of Figure 3 (equation 7) on the kept tokens"),
    ):
        part = parts.add_parser(
            name,
            help=about[0].lower() + about[1:],
            description=f"{about}: unpruned, with random pruning and with STA.",
            epilog=_EXIT_CODES,
        )
        add_flags(part, ReproduceOptions)
    return parser


def _tables() -> int:
    """Prints both tables; 1 if any cell is beyond its tolerance."""
    from pipeline.lab.reproduce import TABLE_2, TABLE_3, compare, render

    held = True
    for table in (TABLE_2, TABLE_3):
        cells = list(compare(table))
        tell(f"{render(table, cells)}\n")
        held = held and all(cell.holds for cell in cells)
    return 0 if held else 1


def _compare(options: ComparisonOptions) -> int:
    """Prints the tables and writes the page; 1 if a count is not the paper's."""
    from pipeline.lab.published import TABLES, compared, page, text

    tables = [(table, list(compared(table))) for table in TABLES]
    for table, systems in tables:
        tell(f"{text(table, systems)}\n")
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "compare.html"
    path.write_text(page(tables), encoding="utf-8")
    tell(f"Report:    {path}")
    return 0 if all(each.holds for _, systems in tables for each in systems) else 1


def _measure(what: str, options: ReproduceOptions) -> None:
    """Prints the table of a measure; without INPUT, of the demo archive."""
    from pipeline.lab.paper_measures import MeasureOptions, grad_norm_table, trajectory_table

    if options.input is not None and options.checkpoint is None:
        raise UsageError("--checkpoint is missing: name fine-tuned weights of a ViT, or demo")
    asked = MeasureOptions(
        source=options.input or "",
        checkpoint=options.checkpoint or "demo",
        architecture=options.architecture,
        labels=options.labels,
        label_map=options.label_map,
        r=options.r,
        videos=options.videos,
    )
    if options.input is None:
        from pipeline.inputs.demo.archive import ArchiveSettings, demo_archive

        source = demo_archive("videos", ArchiveSettings(videos=_DEMO_VIDEOS))
        asked = dataclasses.replace(asked, source=str(source))
    tell({"trajectory": trajectory_table, "gradnorm": grad_norm_table}[what](asked))


if __name__ == "__main__":
    leave(main())
