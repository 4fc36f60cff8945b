#!/usr/bin/env python3
"""Print the paper's numbers beside what this code gives."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Sequence

from pipeline.command_line import JobParser, exit_code
from pipeline.errors import UsageError
from pipeline.inputs.demo.archive import ArchiveSettings, demo_archive
from pipeline.lab.paper_measures import MeasureOptions, grad_norm_table, trajectory_table
from pipeline.lab.reproduce import TABLE_2, TABLE_3, compare, render
from pipeline.labeling.flags import add_model_flags
from pipeline.messages import tell

_DEMO_VIDEOS = 48
_EXIT_CODES = "Exit code: 0, all is printed; 2, the command was wrong."


def main(argv: Sequence[str] | None = None) -> int:
    """Prints what was asked for; `argv` None for the process's arguments."""
    arguments = _parser().parse_args(argv)
    if arguments.what == "tables":
        return _tables()
    table = {"trajectory": trajectory_table, "gradnorm": grad_norm_table}[arguments.what]
    return exit_code(lambda: tell(table(_options(arguments))), resumes=False)


def _parser() -> argparse.ArgumentParser:
    parser = JobParser(description=__doc__)
    parts = parser.add_subparsers(dest="what", required=True, metavar="WHAT")
    parts.add_parser(
        "tables",
        help="FLOPs of Tables 2 and 3",
        description="Count the FLOPs of Tables 2 and 3.",
        epilog="Exit code: 0, every cell is within its table's tolerance; 1, one is not.",
    )
    for name, about in (
        ("trajectory", "Measure the trajectory sums of Table 1 (equation 6)"),
        ("gradnorm", "Measure the GradNorm of Figure 3 (equation 7) on the tokens that are kept"),
    ):
        part = parts.add_parser(
            name,
            help=about[0].lower() + about[1:],
            description=f"{about}: unpruned, with random pruning and with STA.",
            epilog=_EXIT_CODES,
        )
        part.add_argument(
            "input",
            nargs="?",
            metavar="INPUT",
            help="directory, s3://bucket/prefix, one video, or a manifest (default: the "
            "demonstration archive, which is generated)",
        )
        part.add_argument("--r", type=int, metavar="N", help="default: that of the labeling jobs")
        part.add_argument(
            "--videos",
            type=int,
            default=_DEMO_VIDEOS,
            metavar="N",
            help="videos of INPUT, chosen by a hash (default: %(default)s)",
        )
        add_model_flags(part)
    return parser


def _tables() -> int:
    """Prints both tables; 1 if any cell is beyond its tolerance."""
    held = True
    for table in (TABLE_2, TABLE_3):
        cells = list(compare(table))
        print(render(table, cells), end="\n\n")
        held = held and all(cell.holds for cell in cells)
    return 0 if held else 1


def _options(arguments: argparse.Namespace) -> MeasureOptions:
    """What the flags say; without INPUT of the demonstration, made where it is not there yet."""
    if arguments.input is not None and arguments.checkpoint is None:
        raise UsageError("--checkpoint is missing: name fine-tuned weights of a ViT, or demo")
    options = MeasureOptions(
        source=arguments.input or "",
        checkpoint=arguments.checkpoint or "demo",
        architecture=arguments.arch,
        labels=arguments.labels,
        r=arguments.r,
        videos=arguments.videos,
    )
    if arguments.input is None:
        source = demo_archive("videos", ArchiveSettings(videos=_DEMO_VIDEOS))
        return dataclasses.replace(options, source=str(source))
    return options


if __name__ == "__main__":
    sys.exit(main())
