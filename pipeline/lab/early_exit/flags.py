"""The flags of the calibration."""

from __future__ import annotations

import argparse

from pipeline.command_line import JobParser
from pipeline.labeling.flags import (
    add_failure_flags,
    add_input_flags,
    add_model_flags,
    add_pool_flags,
    add_protocol_flags,
    parse_share,
)
from pipeline.labeling.pruning_flags import add_pruning_flags

DEMO_VIDEOS = 1200

_ABOUT = """\
Fit an early-exit threshold: all views of a sample are evaluated, and the threshold with the fewest
views is chosen that keeps the label of all views for the guaranteed share of videos."""
_EPILOG = f"""\
Without INPUT an archive of {DEMO_VIDEOS:,} videos (or --sample, where that is less) is generated
and the demonstration model calibrated on it: about ten minutes on two cores.
Running the same command again resumes; another guarantee on the same sweep takes seconds.
Exit code: 0, the early-exit file is written; 2, the command was wrong or the videos are too few
for the guarantee; 1, the sweep could not finish (the same command resumes it), or no video could be
labeled."""


def parser() -> argparse.ArgumentParser:
    """The flags."""
    made = JobParser(
        description=_ABOUT, epilog=_EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument(
        "input",
        nargs="?",
        metavar="INPUT",
        help="videos like those to be labeled: directory, s3://bucket/prefix, or a manifest",
    )
    made.add_argument(
        "early_exit",
        nargs="?",
        metavar="EARLY_EXIT",
        help="early-exit file to write, such as early-exit.json or s3://bucket/early-exit.json; "
        "its report (.html) and its sweep go beside it",
    )
    guarantee = made.add_argument_group("agreement guarantee")
    guarantee.add_argument(
        "--agreement",
        type=parse_share,
        default=0.995,
        metavar="SHARE",
        help="share of videos that keep the label of all views, such as 0.99 or 99%% (default: "
        "%(default)s)",
    )
    guarantee.add_argument(
        "--confidence",
        type=parse_share,
        default=0.95,
        metavar="SHARE",
        help="probability with which that holds (default: %(default)s)",
    )
    guarantee.add_argument(
        "--sample",
        type=int,
        default=2000,
        metavar="N",
        help="videos of INPUT whose views are all evaluated, chosen by a hash (default: "
        "%(default)s)",
    )
    add_model_flags(made)
    add_pruning_flags(made)
    _add_work_flags(made)
    add_failure_flags(made)
    return made


def _add_work_flags(made: argparse.ArgumentParser) -> None:
    work = made.add_argument_group("work")
    work.add_argument(
        "--task",
        choices=("k400", "ssv2"),
        default="k400",
        help="which labeling job the threshold is for (default: %(default)s)",
    )
    add_protocol_flags(work)
    work.add_argument(
        "--sweep",
        metavar="DIR",
        help="folder for the scores of every view (default: EARLY_EXIT without .json, plus -sweep)",
    )
    add_input_flags(work)
    add_pool_flags(work)


def binding(arguments: argparse.Namespace) -> list[str]:
    """The flags that the labeling job needs to do what was calibrated: those not at their
    default.
    """
    pruning = JobParser(add_help=False)
    add_pruning_flags(pruning)
    flags = {action.option_strings[0]: (action.dest, action.default) for action in pruning._actions}
    flags |= {f"--{name}": (name, None) for name in ("labels", "protocol", "views")}
    words = []
    for flag, (name, default) in flags.items():
        value = getattr(arguments, name)
        if value != default:
            words += [flag, str(value)]
    return words
