"""The command line of the accuracy laboratory."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

import sta
from pipeline.demo.archive import MANIFEST, ArchiveSettings, make_archive
from pipeline.errors import RunError, UsageError
from pipeline.evaluation.findings import find
from pipeline.evaluation.page import write
from pipeline.evaluation.truths import check_truths
from pipeline.evaluation.variants import Variant, all_variants, chosen
from pipeline.evaluation.words import screen
from pipeline.failure_limit import FailureLimit
from pipeline.ray_session import check_outlives_job
from pipeline.resources import parse_decoders
from pipeline.storage import Location
from pipeline.trials import TrialOptions, run_trials
from workers.decoding import DECODERS
from workers.sampling import PROTOCOLS, parse_views

_DEMO = Path("demo")
_DEMO_VIDEOS = 200
_QUICK = ("random", "score")
_TRIALS = "trials"

_EPILOG = """\
Without INPUT test videos of the demonstration archive are made and its model is judged on them.
All variants see the same decoded frames, and differences are taken video by video. Running the same
command again resumes, or draws the report anew.
Exit code: 0, the report is written; 2, the command was wrong; 1, the run could not finish and the
same command resumes it."""


def main(argv: Sequence[str] | None = None) -> int:
    """Tries the variants, judges them, writes the report and prints a short one."""
    arguments = _parser().parse_args(argv)
    try:
        options, variants = _asked(arguments)
        found = find(run_trials(options), variants)
        page = write(found, Location.of(_output(arguments)))
    except RunError as error:
        print(f"error: {error}\n{error.advice}".rstrip(), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped. Run the same command again to resume.", file=sys.stderr)
        return 1
    except pa.ArrowException as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    except (UsageError, ValueError, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    print(screen(found))
    print(f"\nReport:    {page.uri}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Measure what each switch of STA costs in accuracy, at equal FLOPs, on videos "
        "whose labels are known: Table 6 and Figure 5 of the paper beside ours.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "input",
        nargs="?",
        metavar="INPUT",
        help="manifest (.csv, .parquet or .jsonl) with uri and label, a name of the model's "
        "classes; local or s3://",
    )
    parser.add_argument(
        "output", nargs="?", metavar="OUTPUT", help="directory or s3://bucket/prefix of the report"
    )
    model = parser.add_argument_group("model")
    model.add_argument(
        "--checkpoint",
        metavar="C",
        help="fine-tuned weights: a file, a Hugging Face directory, a hub id, s3://bucket/key, "
        "https://..., demo",
    )
    model.add_argument("--arch", metavar="A", help="refuse a checkpoint that is not this")
    model.add_argument(
        "--labels",
        type=Path,
        metavar="F",
        help="class names for a checkpoint without them: one per line, CSV (index,name) or JSON",
    )
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
    work.add_argument(
        "--protocol",
        choices=tuple(PROTOCOLS),
        help="how frames and crops are taken (default: as the model's accuracy was published)",
    )
    work.add_argument(
        "--views", metavar="CxS", help="clips x spatial crops of each video (default: the task's)"
    )
    work.add_argument(
        "--max-failed", metavar="SHARE", help="stop early when more than this share cannot be read"
    )
    work.add_argument(
        "--retry-failed",
        action="store_true",
        help="try those again that failed for a reason that may be gone",
    )
    work.add_argument(
        "--decoder", choices=DECODERS, default=DECODERS[0], help="default: %(default)s"
    )
    work.add_argument("--decoders", metavar="N|MIN:MAX|auto", help="decode actors")
    work.add_argument("--labelers", type=int, metavar="N", help="label actors")
    work.add_argument("--max-cpus", type=int, metavar="N", help="cores a cluster can grow to")
    work.add_argument("--max-gpus", type=int, metavar="N", help="GPUs a cluster can grow to")
    work.add_argument(
        "--batch-size",
        type=int,
        metavar="N",
        help="views per forward pass (default: 32 on a GPU, 8 on a CPU)",
    )
    work.add_argument(
        "--no-compile",
        action="store_false",
        dest="compile",
        default=None,
        help="on GPUs: start at once and run slower",
    )


def _output(arguments: argparse.Namespace) -> str:
    if arguments.output is not None:
        check_outlives_job(arguments.output)
        return str(arguments.output)
    if arguments.input is None:
        return str(_DEMO / _demo_output(arguments))
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


def _asked(arguments: argparse.Namespace) -> tuple[TrialOptions, list[Variant]]:
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
        model.architecture, r=arguments.r, seeds=arguments.seeds, classes=len(model.labels)
    )
    names = arguments.variants.split(",") if arguments.variants else []
    names += list(_QUICK) if arguments.quick else []
    if names:
        variants = chosen(variants, names)
    source = arguments.input or _demo_archive(arguments.videos or _DEMO_VIDEOS)
    check_truths(source, model.labels, limit=arguments.limit)
    options = TrialOptions(
        source=source,
        output=Location.of(output).child(_TRIALS).uri,
        checkpoint=checkpoint,
        variants={name: each for variant in variants for name, each in variant.trials().items()},
        sample=arguments.videos,
        limit=arguments.limit,
        task=arguments.task,
        architecture=arguments.arch,
        labels=arguments.labels,
        protocol=arguments.protocol,
        views=parse_views(arguments.views) if arguments.views else None,
        max_failed=FailureLimit.parse(arguments.max_failed) if arguments.max_failed else None,
        retry_failed=arguments.retry_failed,
        decoder=arguments.decoder,
        decoders=parse_decoders(arguments.decoders) if arguments.decoders else None,
        labelers=arguments.labelers,
        max_cpus=arguments.max_cpus,
        max_gpus=arguments.max_gpus,
        batch_size=arguments.batch_size,
        compile=arguments.compile,
    )
    return options, variants


def _demo_archive(videos: int) -> str:
    """The manifest of so many test videos of the demo, which are made where they are not there."""
    folder = _DEMO / "test"

    def report(done: int) -> None:
        if done % 20 == 0:
            print(f"made {done} of {videos} demo videos", file=sys.stderr, flush=True)

    make_archive(folder, ArchiveSettings(videos=videos), report=report)
    return str(folder / MANIFEST)
