#!/usr/bin/env python3
"""Generate the demo archive: short videos of moving objects with ground-truth labels."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pipeline.command_line import run_job
from pipeline.exit_codes import leave
from pipeline.flags import argument, flag
from pipeline.messages import say, tell

_ABOUT = f"{__doc__}\n\nThe same options give the same videos; existing videos are kept."
_EPILOG = "Exit codes: 0, the archive is complete; 1, an error occurred; 2, the command was wrong."


@dataclass(frozen=True)
class DemoArchiveOptions:
    """What the flags set."""

    dest: Path = argument("folder to write to", metavar="DEST")
    videos: int = flag("number of videos", 60, metavar="N")
    seed: int = flag("random seed of the scenes", 0, metavar="N")
    split: Literal["train", "test"] = flag(
        "split of the scenes; the demo model was trained on train only", "test"
    )
    crf: int = flag("x264 quality, 0 to 51", 23, metavar="N")
    width: int = flag("width of a frame in pixels", 320, metavar="N")
    height: int = flag("height of a frame in pixels; the scenes grow with it", 240, metavar="N")
    gop: int = flag("largest number of frames between keyframes", 250, metavar="N")
    processes: int = flag("number of rendering processes", 1, metavar="N")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    return run_job(DemoArchiveOptions, _make, argv, about=_ABOUT, epilog=_EPILOG)


def _make(options: DemoArchiveOptions) -> None:
    from pipeline.inputs.demo.archive import LABEL_FILE, MANIFEST, ArchiveSettings, make_archive
    from pipeline.inputs.demo.scenes import LABELS

    settings = ArchiveSettings(
        videos=options.videos,
        seed=options.seed,
        split=options.split,
        crf=options.crf,
        width=options.width,
        height=options.height,
        gop=options.gop,
    )
    begin = time.monotonic()

    def progress(made: int, missing: int) -> None:
        if made and (made % 20 == 0 or made == missing):
            say(f"{made:,} of {missing:,} videos generated")

    make_archive(options.dest, settings, processes=options.processes, report=progress)
    tell(
        f"{settings.videos} videos of {len(LABELS)} labels in {options.dest} "
        f"({time.monotonic() - begin:.0f} s), with {MANIFEST} and {LABEL_FILE}"
    )


if __name__ == "__main__":
    leave(main())
