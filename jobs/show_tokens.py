#!/usr/bin/env python3
"""Show the tokens that the model kept of one video: frames with pruned tokens masked, by stage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.command_line import run_job
from pipeline.errors import RunError
from pipeline.exit_codes import leave
from pipeline.flags import argument, flag
from pipeline.messages import tell

_EPILOG = """\
The job writes three files: a self-contained page with sliders for frames and stages (.html), a
sheet of stages by time (.png), and an animation of the frames beside each stage (.webp).

The unpruned label comes from the run's shadow sample if the video is in it, else from
--unpruned-run, else from running the unpruned model on this video.

Exit codes: 0, the files are written; 1, the run's tables cannot be read; 2, the command was wrong,
or the video no longer exists."""


@dataclass(frozen=True)
class ShowTokensOptions:
    """What the flags set."""

    run: str = argument("directory or s3://bucket/prefix of a run", metavar="RUN")
    video_id: str = argument("id of a video of the run", metavar="VIDEO_ID")
    clip: int | None = flag("number of the clip (default: the video's first)", None, metavar="N")
    crop: int | None = flag("number of the crop (default: the middle one)", None, metavar="N")
    unpruned_run: str | None = flag(
        "a run of the same model and protocol with --r 0, for the unpruned label",
        None,
        metavar="RUN_B",
    )
    use_model: bool = flag(
        "do not run the unpruned model if no run has the unpruned label",
        True,
        name="no-model",
    )
    out: Path = flag("folder for the files", Path("tokens"), metavar="DIR")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    return run_job(ShowTokensOptions, _show, argv, about=__doc__, epilog=_EPILOG, reads_runs=True)


def _show(options: ShowTokensOptions) -> None:
    from pipeline.reports.tokens.show import ShowOptions, show, summary

    asked = ShowOptions(
        output=options.run,
        video_id=options.video_id,
        clip=options.clip,
        crop=options.crop,
        unpruned_run=options.unpruned_run,
        use_model=options.use_model,
        folder=options.out,
    )
    try:
        tell(summary(show(asked)))
    except RuntimeError as error:  # of torch, or of a decoder that died
        raise RunError(str(error)) from error


if __name__ == "__main__":
    leave(main())
