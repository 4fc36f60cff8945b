"""The command line of the evaluation."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import sta
from pipeline.command_line import JobParser
from pipeline.errors import UsageError
from pipeline.execution.ray_session import check_outlives_job
from pipeline.execution.run_failure import after_work
from pipeline.exit_codes import exit_code
from pipeline.flags import add_flags, argument, flag, options_of
from pipeline.inputs.demo.archive import DEMO, ArchiveSettings, demo_archive
from pipeline.inputs.list_options import ListOptions
from pipeline.lab.baselines.shares import METHODS, is_share_name
from pipeline.lab.evaluation.page import write
from pipeline.lab.evaluation.results import evaluate
from pipeline.lab.evaluation.scores import check_ground_truths
from pipeline.lab.evaluation.text import screen
from pipeline.lab.evaluation.variants import (
    PruningVariant,
    all_variants,
    at_shares,
    chosen,
    tried_once,
)
from pipeline.labeling.machine_flags import MachineFlags
from pipeline.labeling.options import FAILURES, MODEL, PROTOCOL, LabelOptions
from pipeline.labeling.sweep import SweepOptions, run_sweep
from pipeline.messages import tell
from pipeline.storage.location import Location

_DEMO_VIDEOS = 200
_QUICK = ("random", "score")
_SWEEP = "sweep"
_COMPARED = "what is compared"

_EPILOG = """\
Without INPUT, the job generates test videos of the demo archive and evaluates the demo model.

All variants get the same decoded frames, and differences are paired by video. To resume, or to
write the report again, run the same command again.

Exit codes: 0, the report is written; 1, the run could not finish (run the same command again to
resume), or no video could be labeled; 2, the command was wrong."""


def main(argv: Sequence[str] | None = None) -> int:
    """Tries the variants, judges them, writes the report and prints a short one."""
    return exit_code(lambda: _evaluate(_parser().parse_args(argv)))


def _evaluate(arguments: argparse.Namespace) -> None:
    options, variants = _asked(arguments)
    run = run_sweep(options)
    with after_work():
        found = evaluate(run, variants)
        page = write(found, Location.of(_output(arguments)))
    tell(f"{screen(found)}\n\nReport:    {page.uri}")


@dataclass(frozen=True)
class EvaluationFlags:
    """What is compared and on what, besides what the labeling jobs' flags say."""

    input: str | None = argument(
        "list of videos (Parquet, CSV, TSV, JSON or text) with uri and label: the "
        "name or the id of a class of the model; local or s3://",
        None,
        metavar="INPUT",
    )
    output: str | None = argument(
        "directory or s3://bucket/prefix of the report", None, metavar="OUTPUT"
    )
    r: int | None = flag(
        "tokens pruned per frame at the first of three stages (default: depends on the model)",
        None,
        metavar="N",
        group=_COMPARED,
    )
    seeds: int = flag(
        "number of random seeds for each variant that makes random choices",
        3,
        metavar="N",
        group=_COMPARED,
    )
    variants: str | None = flag(
        "comma-separated groups of variants (random, grouping, score, first, order, similarity, "
        "schedule, curve), single variants such as order-FFF, or methods at a share of the "
        f"unpruned model's FLOPs such as tome@50% ({', '.join(METHODS)}; @50% for all of them); "
        "the unpruned model and STA are always included (default: all groups)",
        None,
        metavar="NAMES",
        group=_COMPARED,
    )
    quick: bool = flag(f"short for --variants {','.join(_QUICK)}", False, group=_COMPARED)
    videos: int | None = flag(
        "evaluate N videos of INPUT, always the same ones (default: all); without INPUT, "
        f"generate N videos (default: {_DEMO_VIDEOS})",
        None,
        metavar="N",
        group="work",
    )
    limit: int | None = flag("use only the first N videos", None, metavar="N", group="work")
    task: Literal["k400", "ssv2"] = flag(
        "labeling job whose protocol is used", "k400", group="work"
    )


def _parser() -> argparse.ArgumentParser:
    parser = JobParser(
        description="Measure the accuracy of each variant of STA at equal FLOPs, on videos with "
        "ground truth, and compare it with Table 6 and Figure 5 of the paper.",
        epilog=_EPILOG,
    )
    add_flags(parser, EvaluationFlags)
    add_flags(parser, LabelOptions, (*MODEL, *PROTOCOL))
    add_flags(parser, ListOptions)
    add_flags(parser, LabelOptions, FAILURES)
    add_flags(parser, MachineFlags)
    return parser


def _output(arguments: argparse.Namespace) -> str:
    if arguments.output is not None:
        check_outlives_job(arguments.input, "INPUT")
        check_outlives_job(arguments.output)
        if arguments.video_root is not None:
            check_outlives_job(arguments.video_root, "--video-root")
        return str(arguments.output)
    if arguments.input is None:
        return str(DEMO / _demo_output(arguments))
    raise UsageError("OUTPUT is missing: name a directory or s3://bucket/prefix for the report")


def _demo_output(arguments: argparse.Namespace) -> str:
    """A folder per setting, since without INPUT none can be named."""
    parser = _parser()
    names = ["checkpoint", "quick", "variants", "r", "seeds", "videos", "limit"]
    names += ["task", "protocol", "views", "decoder", "precision"]
    said = [
        name if value is True else f"{name}-{arguments.given[name][0].replace('/', '_')}"
        for name in names
        if (value := getattr(arguments, name)) != parser.get_default(name)
    ]
    return "-".join(["evaluation", *said])


def _asked(arguments: argparse.Namespace) -> tuple[SweepOptions, list[PruningVariant]]:
    """What the flags say; without INPUT of the demo's test videos, made where they are not.

    Raises:
        UsageError, ValueError, sta.CheckpointError, sta.UnsafePickle: something is wrong.
    """
    output = _output(arguments)
    checkpoint = arguments.checkpoint or ("demo" if arguments.input is None else None)
    if checkpoint is None:
        raise UsageError("--checkpoint is missing: name fine-tuned weights, or demo")
    model = sta.load_model(
        checkpoint,
        architecture=arguments.architecture,
        labels=arguments.labels,
        label_map=arguments.label_map,
        sha256=arguments.checkpoint_sha256,
    )
    variants = all_variants(
        model.architecture,
        r=arguments.r,
        seeds=arguments.seeds,
        classes=model.head.out_features,
        shape=model.config,
    )
    names = arguments.variants.split(",") if arguments.variants else []
    names += list(_QUICK) if arguments.quick else []
    if names:
        variants = chosen(variants, [name for name in names if not is_share_name(name)])
        variants += at_shares(
            [name for name in names if is_share_name(name)],
            model.architecture,
            seeds=arguments.seeds,
            classes=model.head.out_features,
            shape=model.config,
        )
    variants = tried_once(variants)
    source = arguments.input
    if source is None:
        archive = ArchiveSettings(videos=arguments.videos or _DEMO_VIDEOS)
        source = str(demo_archive("test", archive))
    asked = options_of(
        LabelOptions,
        arguments,
        task=arguments.task,
        source=source,
        output=Location.of(output).child(_SWEEP).uri,
        checkpoint=checkpoint,
        lists=options_of(ListOptions, arguments),
        limit=arguments.limit,
    )
    check_ground_truths(asked.listing(), model.labels, limit=arguments.limit)
    options = SweepOptions(
        asked,
        {name: each for variant in variants for name, each in variant.sweep().items()},
        arguments.videos,
    )
    return options, variants
