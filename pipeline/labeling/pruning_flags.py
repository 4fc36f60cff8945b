"""The flags of every switch of STA, for all jobs that prune."""

from __future__ import annotations

import argparse
import dataclasses
from typing import get_args

import sta
from pipeline.command_line import JobParser
from sta import pruning as switches


def add_pruning_flags(parser: argparse.ArgumentParser) -> None:
    """Adds one flag per field of `sta.Pruning`, under their own heading."""
    default = sta.Pruning()
    group = parser.add_argument_group("pruning (STA, Table 6 of the paper)")
    group.add_argument(
        "--r",
        type=int,
        metavar="N",
        help="tokens pruned per frame at the first of three stages; 0 for the unpruned model "
        "(default: depends on the model; 64 for a ViT at 224 pixels, which about halves the "
        "FLOPs)",
    )
    group.add_argument(
        "--grouping",
        choices=get_args(switches.Grouping),
        default=default.grouping,
        help="how frames are grouped: as in the authors' released code, or as in the paper's text "
        "(default: %(default)s)",
    )
    for name, choices, about in (
        (
            "direction",
            switches.Direction,
            "direction in time of each of the three stages: F forward, B backward",
        ),
        (
            "first-frame",
            switches.FirstFrame,
            "how the first frame of each stage is pruned, which has no frame to be compared with",
        ),
        (
            "similarity",
            switches.Similarity,
            "features that are compared between frames: keys, queries, values or MLP inputs (ffn)",
        ),
        (
            "schedule",
            switches.Schedule,
            "how the number of pruned tokens changes from stage to stage",
        ),
        (
            "score",
            switches.Score,
            "score that ranks tokens: STA, one of its two factors, or random numbers",
        ),
        (
            "window-attention",
            switches.WindowAttention,
            "VideoSwin: attention over kept tokens, or over whole windows",
        ),
    ):
        group.add_argument(
            f"--{name}",
            choices=get_args(choices),
            default=getattr(default, name.replace("-", "_")),
            help=f"{about} (default: %(default)s)",
        )
    group.add_argument(
        "--temperature",
        type=float,
        default=default.temperature,
        metavar="T",
        help="temperature of the softmax over similarities (default: %(default)s)",
    )
    group.add_argument(
        "--pruning-seed",
        type=int,
        default=default.seed,
        metavar="N",
        help="seed of the random choices of pruning (default: %(default)s)",
    )


def pruning_names() -> tuple[str, ...]:
    """The attributes that these flags set."""
    made = JobParser(add_help=False)
    add_pruning_flags(made)
    return tuple(action.dest for action in made._actions)


def pruning_from(arguments: argparse.Namespace) -> sta.Pruning:
    """The pruning that the flags ask for, with r = 0 where none was named.

    Raises:
        ValueError: a value that `sta.Pruning` refuses.
    """
    values = {
        field.name: getattr(arguments, field.name)
        for field in dataclasses.fields(sta.Pruning)
        if hasattr(arguments, field.name)
    }
    values["seed"] = arguments.pruning_seed
    values["r"] = arguments.r or 0
    return sta.Pruning(**values)
