#!/usr/bin/env python3
"""Show what the model looked at in one video: frames with the dropped tokens masked, by stage."""

import argparse
import sys
from pathlib import Path

import pyarrow as pa

from pipeline.command_line import JobParser
from pipeline.errors import UsageError
from pipeline.reports.tokens.show import ShowOptions, show, summary

_EPILOG = """\
Three files are written: a page with sliders over frames and stages (.html, which stands alone), a
sheet of stages by time (.png), and the frames with each stage beside them as a file that moves
(.webp). The label without pruning is taken from the run's shadow sample where the video is in it,
else from --unpruned-run, else the model is run on this one video.
Exit code: 0, they are written; 2, the command was wrong or the video is gone; 1, the run's tables
cannot be read."""


def main() -> int:
    """0: the files are written; 2: the command was wrong, or the video is gone; 1: otherwise."""
    parser = JobParser(
        description=__doc__, epilog=_EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", metavar="RUN", help="directory or s3://bucket/prefix of a run")
    parser.add_argument("video_id", metavar="VIDEO_ID", help="a video of the run")
    parser.add_argument(
        "--clip", type=int, metavar="N", help="number of the clip (default: the video's first)"
    )
    parser.add_argument(
        "--crop", type=int, metavar="N", help="number of the crop (default: the middle one)"
    )
    parser.add_argument(
        "--unpruned-run",
        metavar="RUN_B",
        help="a run of the same model and protocol by --r 0, for the label without pruning",
    )
    parser.add_argument(
        "--no-model",
        action="store_false",
        dest="use_model",
        help="do not run the model without pruning where its label was not written down",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("tokens"),
        metavar="DIR",
        help="folder for the files (default: %(default)s)",
    )
    arguments = parser.parse_args()
    options = ShowOptions(
        output=arguments.run,
        video_id=arguments.video_id,
        clip=arguments.clip,
        crop=arguments.crop,
        unpruned_run=arguments.unpruned_run,
        use_model=arguments.use_model,
        folder=arguments.out,
    )
    try:
        print(summary(show(options)))
    except UsageError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except (OSError, RuntimeError, pa.ArrowException) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
