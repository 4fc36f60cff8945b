"""The command line of the accuracy laboratory."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence

import sta
from pipeline.command_line import JobParser, exit_code
from pipeline.errors import UsageError
from pipeline.execution.ray_session import check_outlives_job
from pipeline.execution.run_failure import after_work
from pipeline.inputs.demo.archive import DEMO, ArchiveSettings, demo_archive
from pipeline.lab.evaluation.page import write
from pipeline.lab.evaluation.results import evaluate
from pipeline.lab.evaluation.scores import check_ground_truths
from pipeline.lab.evaluation.text import screen
from pipeline.lab.evaluation.variants import PruningVariant, all_variants, chosen
from pipeline.labeling.flags import (
    add_failure_flags,
    add_model_flags,
    add_pool_flags,
    add_protocol_flags,
    asked_of_work,
)
from pipeline.labeling.sweep import SweepOptions, run_sweep
from pipeline.messages import tell
from pipeline.storage.location import Location

_DEMO_VIDEOS = 200
_QUICK = ("random", "score")
_SWEEP = "sweep"

_EPILOG = """\
Without INPUT test videos of the demonstration archive are made and its model is judged on them.
All variants see the same decoded frames, and differences are taken video by video. Running the same
command again resumes, or draws the report anew.
Exit code: 0, the report is written; 2, the command was wrong; 1, the run could not finish and the
same command resumes it, or no video could be labeled."""


def main(argv: Sequence[str] | None = None) -> int:
    """Tries the variants, judges them, writes the report and prints a short one."""
    arguments = _parser().parse_args(argv)
    return exit_code(lambda: _evaluate(arguments))


def _evaluate(arguments: argparse.Namespace) -> None:
    options, variants = _asked(arguments)
    run = run_sweep(options)
    with after_work():
        found = evaluate(run, variants)
        page = write(found, Location.of(_output(arguments)))
    tell(f"{screen(found)}\n\nReport:    {page.uri}")


def _parser() -> argparse.ArgumentParser:
    parser = JobParser(
        description="Measure what each switch of STA costs in accuracy, at equal FLOPs, on videos "
        "whose labels are known: Table 6 and Figure 5 of the paper beside ours.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "input",
        nargs="?",
        metavar="INPUT",
        help="list of videos (Parquet, CSV, TSV, JSON or text) with uri and label, which is a name "
        "or the id of a class of the model; local or s3://",
    )
    parser.add_argument(
        "output", nargs="?", metavar="OUTPUT", help="directory or s3://bucket/prefix of the report"
    )
    add_model_flags(parser)
    _add_variant_flags(parser)
    _add_work_flags(parser)
    return parser


def _add_variant_flags(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what is compared")
    group.add_argument(
        "--r",
        type=int,
        help="tokens dropped per frame at the first stage (default: what about halves the FLOPs)",
    )
    group.add_argument(
        "--seeds",
        type=int,
        default=3,
        metavar="N",
        help="of what chance decides, such as random tokens (default: %(default)s)",
    )
    group.add_argument(
        "--variants",
        metavar="NAMES",
        help="these only, by commas: random, grouping, score, first, order, similarity, schedule, "
        "curve, or single ones such as order-FFF; always with the unpruned model and STA "
        "(default: all)",
    )
    group.add_argument(
        "--quick",
        action="store_true",
        help=f"short for --variants {','.join(_QUICK)}",
    )


def _add_work_flags(parser: argparse.ArgumentParser) -> None:
    work = parser.add_argument_group("work")
    work.add_argument(
        "--videos",
        type=int,
        metavar="N",
        help="judge by N videos of INPUT, always the same ones (default: all); without INPUT make "
        f"so many ({_DEMO_VIDEOS})",
    )
    work.add_argument("--limit", type=int, metavar="N", help="look at the first N videos only")
    work.add_argument(
        "--task", choices=("k400", "ssv2"), default="k400", help="default: %(default)s"
    )
    add_protocol_flags(work)
    add_failure_flags(parser)
    add_pool_flags(work)


def _output(arguments: argparse.Namespace) -> str:
    if arguments.output is not None:
        check_outlives_job(arguments.input, "INPUT")
        check_outlives_job(arguments.output)
        return str(arguments.output)
    if arguments.input is None:
        return str(DEMO / _demo_output(arguments))
    raise UsageError("OUTPUT is missing: name a directory or s3://bucket/prefix for the report")


def _demo_output(arguments: argparse.Namespace) -> str:
    """A folder per setting, since without INPUT none can be named."""
    parser = _parser()
    names = ["checkpoint", "quick", "variants", "r", "seeds", "videos", "limit"]
    names += ["task", "protocol", "views", "decoder"]
    said = [
        name if value is True else f"{name}-{str(value).replace('/', '_')}"
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
    model = sta.load_model(checkpoint, architecture=arguments.arch, labels=arguments.labels)
    variants = all_variants(
        model.architecture,
        r=arguments.r,
        seeds=arguments.seeds,
        classes=len(model.labels),
        shape=model.config,
    )
    names = arguments.variants.split(",") if arguments.variants else []
    names += list(_QUICK) if arguments.quick else []
    if names:
        variants = chosen(variants, names)
    source = arguments.input
    if source is None:
        archive = ArchiveSettings(videos=arguments.videos or _DEMO_VIDEOS)
        source = str(demo_archive("test", archive))
    check_ground_truths(source, model.labels, limit=arguments.limit)
    asked = asked_of_work(
        arguments,
        task=arguments.task,
        source=source,
        output=Location.of(output).child(_SWEEP).uri,
        checkpoint=checkpoint,
    )
    options = SweepOptions(
        dataclasses.replace(asked, limit=arguments.limit),
        {name: each for variant in variants for name, each in variant.sweep().items()},
        arguments.videos,
    )
    return options, variants
