"""The flags of the calibration."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Literal

from pipeline.command_line import JobParser, words_given
from pipeline.flags import add_flags, argument, flag, share
from pipeline.inputs.list_options import ListOptions
from pipeline.labeling.machine_flags import MachineFlags
from pipeline.labeling.options import FAILURES, INPUTS, MODEL, PROTOCOL, LabelOptions
from pipeline.labeling.pruning_flags import PRUNING, PruningFlags

DEMO_VIDEOS = 1200

_ABOUT = """\
Fit an early-exit threshold and choose how to decode. The job evaluates all views of a sample of
videos, decoded exactly and, unless --decode is exact, decoded fast. Of the thresholds for which the
guaranteed share of videos keeps the label of all views decoded exactly, it chooses the one with
the fewest views; of the two decode modes, the cheaper one."""
_EPILOG = f"""\
Without INPUT, the job generates an archive of {DEMO_VIDEOS:,} videos (or --sample, if that is
less) and calibrates the demo model on it, which takes about twenty minutes on two cores.

To resume, run the same command again. Another guarantee on the same sweep takes seconds.

Exit codes: 0, the early-exit file is written; 1, the sweep could not finish (run the same command
again to resume), or no video could be labeled; 2, the command was wrong, or the sample has too few
videos for the guarantee."""


_GUARANTEE = "agreement guarantee"


@dataclass(frozen=True)
class CalibrationFlags:
    """What is calibrated, besides what the labeling jobs' flags say."""

    input: str | None = argument(
        "videos like those to be labeled: directory, s3://bucket/prefix, or a manifest",
        None,
        metavar="INPUT",
    )
    early_exit: str | None = argument(
        "early-exit file to write, such as early-exit.json or s3://bucket/early-exit.json; its "
        "report (.html) and its sweep are written to the same folder",
        None,
        metavar="EARLY_EXIT",
    )
    agreement: float = flag(
        "guaranteed share of videos that keep the label of all views, such as 0.99 or 99%",
        0.995,
        type=share,
        metavar="SHARE",
        group=_GUARANTEE,
    )
    confidence: float = flag(
        "confidence level of the guarantee", 0.95, type=share, metavar="SHARE", group=_GUARANTEE
    )
    sample: int = flag(
        "number of videos of INPUT whose views are all evaluated, chosen by a hash",
        2000,
        metavar="N",
        group=_GUARANTEE,
    )
    decode: Literal["auto", "exact", "fast"] = flag(
        "how runs with the file decode: exact, fast (nearly the same frames for less work), or "
        "auto, which measures both and takes the cheaper one that meets the guarantee; the labels "
        "to keep are those of exact decoding in any case, so fast and auto decode and label the "
        "sample twice",
        "auto",
        group=_GUARANTEE,
    )
    all_views: bool = flag(
        "with --decode fast, fit no threshold: the file stands for all views, decoded fast",
        False,
        group=_GUARANTEE,
    )
    task: Literal["k400", "ssv2"] = flag(
        "which labeling job the threshold is for", "k400", group="work"
    )
    sweep: str | None = flag(
        "folder for the scores of all views (default: EARLY_EXIT without .json, plus -sweep); "
        "those of fast decoding go to the same name plus -fast",
        None,
        metavar="DIR",
        group="work",
    )


def parser() -> argparse.ArgumentParser:
    """The flags."""
    made = JobParser(description=_ABOUT, epilog=_EPILOG)
    add_flags(made, CalibrationFlags)
    add_flags(made, LabelOptions, MODEL)
    add_flags(made, PruningFlags)
    add_flags(made, LabelOptions, (*PROTOCOL, *INPUTS))
    add_flags(made, ListOptions)
    add_flags(made, LabelOptions, FAILURES)
    add_flags(made, MachineFlags)
    return made


def binding(arguments: argparse.Namespace) -> list[str]:
    """The flags that the labeling job needs to do what was calibrated."""
    names = {*PRUNING, "labels", "label_map", *PROTOCOL, "precision", "decoder"}
    given = {name: words for name, words in arguments.given.items() if name in names}
    return words_given(parser(), argparse.Namespace(given=given))
