"""The command line that the labelling jobs share; they differ in their protocol alone."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

import sta
from pipeline.demo.archive import MANIFEST, ArchiveSettings, make_archive
from pipeline.errors import RunError, UsageError
from pipeline.failure_limit import FailureLimit
from pipeline.label_options import LabelOptions
from pipeline.label_plan import plan_labelling
from pipeline.label_run import finished, is_finished, label
from pipeline.policies.budget import Budget
from pipeline.prices import Prices
from pipeline.pruning_flags import add_pruning_flags, pruning_from
from pipeline.ray_session import check_outlives_job
from pipeline.resources import parse_decoders
from pipeline.run_directory import RunDirectory
from pipeline.summary import summary
from workers.decoding import DECODERS
from workers.failures import ErrorType
from workers.sampling import PROTOCOLS, parse_seconds, parse_views

_DEMO = Path("demo")
_DEMO_VIDEOS = 48

_EPILOG = """\
Without INPUT a small archive is generated and labelled with the demonstration model.
Running the same command again resumes: finished videos are not done again.
Exit code: 0, every video has its row (failed ones are named); 2, the command was wrong; 1, the run
could not finish and the same command resumes it."""


def main(task: str, argv: Sequence[str] | None = None) -> int:
    """Runs a labelling job and returns its exit code.

    Args:
        task: "k400" or "ssv2".
        argv: arguments, None for those of the process.
    """
    arguments = parser(task).parse_args(argv)
    try:
        options = options_from(task, arguments)
        plan = plan_labelling(options)
        if is_finished(plan.run, retry_failed=options.retry_failed):
            print(f"{plan.run.root.uri} is complete; nothing to do.", file=sys.stderr)
            content = finished(plan.run, options)
        else:
            content = label(plan, options)
        said = _summary(plan.run, content)
    except RunError as error:
        print(f"error: {error}\n{error.advice}".rstrip(), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped. Run the same command again to resume.", file=sys.stderr)
        return 1
    except (UsageError, ValueError, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    print(said)
    return 0


def parser(task: str, *, add_help: bool = True) -> argparse.ArgumentParser:
    """The flags of a labelling job; without --help a parent of another job's parser."""
    published = {"k400": "5x3, VideoSwin 4x3", "ssv2": "2x3, VideoSwin 1x3"}[task]
    made = argparse.ArgumentParser(
        description=f"Label videos by the {task} protocol with a token-pruned video transformer.",
        epilog=_EPILOG,
        add_help=add_help,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument(
        "input",
        nargs="?",
        metavar="INPUT",
        help="directory (searched through), s3://bucket/prefix, one video, or a manifest "
        "(.parquet, .csv or .jsonl with uri and optionally video_id and label)",
    )
    made.add_argument(
        "output", nargs="?", metavar="OUTPUT", help="directory or s3://bucket/prefix of the run"
    )
    model = made.add_argument_group("model")
    model.add_argument(
        "--checkpoint",
        metavar="C",
        help="fine-tuned weights of VideoMAE or VideoSwin: a file, a Hugging Face directory, a hub "
        "id such as MCG-NJU/videomae-base-finetuned-kinetics, s3://bucket/key, https://..., demo",
    )
    model.add_argument(
        "--arch",
        metavar="A",
        help=f"refuse a checkpoint that is not this: {', '.join(sorted(sta.ARCHITECTURES))}",
    )
    model.add_argument(
        "--labels",
        type=Path,
        metavar="F",
        help="class names for a checkpoint without them: one per line, CSV (index,name) or JSON",
    )
    add_pruning_flags(made)
    work = made.add_argument_group("work")
    work.add_argument(
        "--protocol",
        choices=tuple(PROTOCOLS),
        help="how frames and crops are taken (default: as the model's accuracy was published)",
    )
    work.add_argument(
        "--views",
        type=str,
        metavar="CxS",
        help=f"clips x spatial crops of each video (default: the protocol's, {published}); with "
        "--every, clips of a unit x crops (16x1)",
    )
    work.add_argument(
        "--every",
        metavar="T",
        help="a timeline for long recordings: a clip with a label of its own every T, such as 2s, "
        "500ms or 1m; recordings are cut into units by time, each of which reads its part only",
    )
    work.add_argument(
        "--policy",
        metavar="FILE",
        help="look at each video only until its label is settled, as a file of jobs/calibrate.py "
        "(local or s3://) says; it must have been fitted for this model, pruning and protocol",
    )
    work.add_argument("--limit", type=int, metavar="N", help="label the first N videos only")
    _add_proof_flags(made)
    failures = made.add_argument_group("failures")
    failures.add_argument(
        "--max-failed",
        metavar="SHARE",
        help="stop early when more than this share fails, such as 5%%: then the input is wrong, "
        "not a video (default: go on whatever fails)",
    )
    failures.add_argument(
        "--retry-failed",
        action="store_true",
        help="do the failed videos of this run again whose reason may be gone: "
        + ", ".join(reason for reason in ErrorType if reason.retryable),
    )
    work.add_argument(
        "--decoder", choices=DECODERS, default=DECODERS[0], help="default: %(default)s"
    )
    work.add_argument(
        "--fetch-timeout",
        metavar="T",
        help="how long fetching one video from object storage may take, waits included, such as "
        "10m for large files (default: 2m); decoding has a minute of its own",
    )
    work.add_argument(
        "--decoders",
        metavar="N|MIN:MAX|auto",
        help="decode actors (default: what the cores allow); auto measures on a sample how many "
        "keep the labellers busy",
    )
    work.add_argument(
        "--labelers",
        type=int,
        metavar="N",
        help="label actors (default: one per GPU; without GPUs one per core, fewer for small runs)",
    )
    for unit, kind in (("cpus", "cores"), ("gpus", "GPUs")):
        work.add_argument(
            f"--max-{unit}",
            type=int,
            metavar="N",
            help=f"{kind} that an autoscaling cluster can grow to: pools are sized by these and "
            f"wait for what is not there yet (default: the {kind} that are there)",
        )
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
        help="on GPUs: start at once and label slower; for runs of minutes",
    )
    return made


def _summary(run: RunDirectory, content: dict[str, Any]) -> str:
    """The summary; of a finished run whose tables were damaged since, what mends them."""
    try:
        return summary(run, content)
    except (pa.ArrowException, OSError, KeyError) as error:
        raise RunError(
            f"{run.root.uri} is finished, and its tables cannot be read: "
            f"{' '.join(str(error).split())}",
            advice=f"Delete {run.success.uri} and run the same command again, which builds them "
            f"anew.",
        ) from error


def _add_proof_flags(made: argparse.ArgumentParser) -> None:
    proof = made.add_argument_group("what it cost and what it kept")
    proof.add_argument(
        "--shadow",
        type=parse_share,
        default=0.0,
        metavar="SHARE",
        help="label this share of the videos without pruning too, by all views, such as 0.01 or "
        "1%% (always the same ones): the summary and the reports then say how many labels pruning "
        "keeps",
    )
    proof.add_argument(
        "--min-agreement",
        type=parse_share,
        metavar="SHARE",
        help="with --shadow: warn loudly when a smaller share of labels is kept, such as 98%%",
    )
    proof.add_argument(
        "--prices",
        type=Path,
        metavar="FILE",
        help="what machines cost, for the reports: a YAML file such as infra/prices.yaml",
    )
    spending = made.add_argument_group("budget, with --policy")
    spending.add_argument(
        "--budget",
        type=float,
        metavar="FLOPS",
        help="multiply-accumulates that labelling may take, such as 2e18; never passed: where the "
        "policy's promise takes more, videos are looked at less, and the report says what that "
        "costs in labels (the shadow sample comes on top)",
    )
    spending.add_argument(
        "--budget-usd",
        type=float,
        metavar="MONEY",
        help="the same in money, for device time and decoding by --prices, in their currency; kept "
        "as far as time can be measured",
    )
    proof.add_argument(
        "--gallery",
        type=int,
        default=3,
        metavar="N",
        help="videos whose kept tokens the run's report shows (default: %(default)s)",
    )


def parse_share(text: str) -> float:
    """0.01 of `1%` or `0.01`; argparse says of a ValueError what was wrong."""
    number = text.strip()
    if number in ("1", "1."):
        raise argparse.ArgumentTypeError("1 may be meant as 1% or as 100%; write one of them")
    return float(number[:-1]) / 100 if number.endswith("%") else float(number)


def options_from(task: str, arguments: argparse.Namespace) -> LabelOptions:
    """What the flags of `parser` say; without INPUT of the demo archive, made where it is not.

    Raises:
        UsageError, ValueError: they do not go together, or a value is none.
    """
    source, output, checkpoint = arguments.input, arguments.output, arguments.checkpoint
    if source is None:
        checkpoint = checkpoint or "demo"
        source = str(_demo_archive())
        output = str(_DEMO / _demo_output(task, arguments))
    if output is None:
        raise UsageError("OUTPUT is missing: name a directory or s3://bucket/prefix for the labels")
    if arguments.output:
        check_outlives_job(output)
    if checkpoint is None:
        raise UsageError(
            "--checkpoint is missing: name fine-tuned weights, such as "
            "MCG-NJU/videomae-base-finetuned-kinetics (licence CC-BY-NC-4.0), a file, or demo"
        )
    return LabelOptions(
        task=task,
        source=source,
        output=output,
        checkpoint=checkpoint,
        architecture=arguments.arch,
        labels=arguments.labels,
        pruning=pruning_from(arguments),
        r=arguments.r,
        protocol=arguments.protocol,
        views=parse_views(arguments.views) if arguments.views else None,
        every_s=parse_seconds(arguments.every) if arguments.every else None,
        limit=arguments.limit,
        max_failed=FailureLimit.parse(arguments.max_failed) if arguments.max_failed else None,
        retry_failed=arguments.retry_failed,
        decoder=arguments.decoder,
        fetch_s=parse_seconds(arguments.fetch_timeout) if arguments.fetch_timeout else None,
        decoders=parse_decoders(arguments.decoders) if arguments.decoders else None,
        labelers=arguments.labelers,
        max_cpus=arguments.max_cpus,
        max_gpus=arguments.max_gpus,
        batch_size=arguments.batch_size,
        policy=arguments.policy,
        shadow=arguments.shadow,
        min_agreement=arguments.min_agreement,
        prices=Prices.read(arguments.prices) if arguments.prices else None,
        budget=_budget(arguments),
        gallery=arguments.gallery,
        compile=arguments.compile,
    )


def _budget(arguments: argparse.Namespace) -> Budget | None:
    if arguments.budget is None and arguments.budget_usd is None:
        return None
    prices = Prices.read(arguments.prices) if arguments.prices else None
    return Budget(flops=arguments.budget, money=arguments.budget_usd, prices=prices)


def _demo_archive() -> Path:
    """The manifest of the demo archive, which is made where it is not there yet."""
    folder = _DEMO / "videos"

    def report(done: int) -> None:
        if done % 10 == 0:
            print(f"made {done} of {_DEMO_VIDEOS} demo videos", file=sys.stderr, flush=True)

    make_archive(folder, ArchiveSettings(videos=_DEMO_VIDEOS), report=report)
    return folder / MANIFEST


def _demo_output(task: str, arguments: argparse.Namespace) -> str:
    """A folder per setting, so that pruned and unpruned runs of the demo stand side by side."""
    r = "default" if arguments.r is None else arguments.r
    every = f"-every-{arguments.every}" if arguments.every else ""
    shadow = f"-shadow-{arguments.shadow:g}" if arguments.shadow else ""
    policy = f"-policy-{Path(arguments.policy).stem}" if arguments.policy else ""
    budget = "".join(
        f"-{name}-{value:g}"
        for name in ("budget", "budget_usd")
        if (value := getattr(arguments, name)) is not None
    )
    return f"{task}-{arguments.pruning}-r-{r}{every}{policy}{budget}{shadow}"
