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
        help="tokens dropped per frame at the first stage; 0 for the unpruned model (default: the "
        "number that about halves the FLOPs, 64 for a ViT at 224 pixels)",
    )
    group.add_argument(
        "--grouping",
        choices=get_args(switches.Grouping),
        default=default.grouping,
        help="grouping of frames: as in the authors' released code, or as in the paper's text "
        "(default: %(default)s)",
    )
    for name, choices, about in (
        (
            "direction",
            switches.Direction,
            "F forward or B backward in time, for each of the three stages",
        ),
        (
            "first-frame",
            switches.FirstFrame,
            "how the first frame of each stage is pruned, which has none before",
        ),
        (
            "similarity",
            switches.Similarity,
            "what is compared between frames: keys, queries, values or FFN",
        ),
        ("schedule", switches.Schedule, "how the number of dropped tokens changes over the stages"),
        ("score", switches.Score, "what ranks tokens: STA, one of its two factors, or chance"),
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
        help="divides similarities before the softmax (default: %(default)s)",
    )
    group.add_argument(
        "--pruning-seed",
        type=int,
        default=default.seed,
        metavar="N",
        help="random seed of pruning (default: %(default)s)",
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
