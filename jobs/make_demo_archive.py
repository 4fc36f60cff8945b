#!/usr/bin/env python3
"""Make the demo archive: short videos of moving objects, each with its true label."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from pipeline.command_line import JobParser
from pipeline.inputs.demo.archive import LABEL_FILE, MANIFEST, ArchiveSettings, make_archive
from pipeline.inputs.demo.scenes import LABELS, SPLITS


def _parser() -> argparse.ArgumentParser:
    parser = JobParser(
        description=f"{__doc__} The same options give the same videos; those already there stay."
    )
    parser.add_argument("dest", type=Path, metavar="DEST", help="folder to write to")
    parser.add_argument("--videos", type=int, default=60, help="how many (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="default %(default)s")
    parser.add_argument(
        "--split",
        choices=SPLITS,
        default="test",
        help="the model was trained on scenes of 'train' only (default %(default)s)",
    )
    parser.add_argument(
        "--crf", type=int, default=23, help="x264 quality, 0 to 51 (default %(default)s)"
    )
    parser.add_argument(
        "--processes", type=int, default=1, help="to render in (default %(default)s)"
    )
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        settings = ArchiveSettings(
            videos=options.videos, seed=options.seed, split=options.split, crf=options.crf
        )
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    begin = time.monotonic()

    def progress(made: int, missing: int) -> None:
        if made and (made % 20 == 0 or made == missing):
            print(f"made {made:,} of {missing:,} videos", flush=True)

    make_archive(options.dest, settings, processes=options.processes, report=progress)
    print(
        f"{settings.videos} videos of {len(LABELS)} labels in {options.dest} "
        f"({time.monotonic() - begin:.0f} s), with {MANIFEST} and {LABEL_FILE}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
