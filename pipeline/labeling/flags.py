"""The flags that the labeling jobs share."""

from __future__ import annotations

import argparse
from collections.abc import Collection
from pathlib import Path

import sta
from pipeline.command_line import JobParser
from pipeline.execution.failure_limit import FailureLimit
from pipeline.execution.pools import parse_decoders
from pipeline.labeling.options import LabelOptions
from pipeline.labeling.pruning_flags import add_pruning_flags
from workers.decoding import DECODERS
from workers.failures import ErrorType
from workers.sampling import PROTOCOLS, parse_seconds, parse_views

_EPILOG = """\
Without INPUT a small archive is generated and labeled with the demonstration model.
Running the same command again resumes: finished videos are not done again.
Exit code: 0, every video has its row (failed ones are named); 2, the command was wrong; 1, the run
could not finish and the same command resumes it, or no video could be labeled."""

_VIEWS = {"k400": "5x3, VideoSwin 4x3", "ssv2": "2x3, VideoSwin 1x3"}


def parser(task: str, *, add_help: bool = True) -> argparse.ArgumentParser:
    """The flags of a labeling job; without --help a parent of another job's parser."""
    made = JobParser(
        description=f"Label videos by the {task} protocol with a token-pruned video transformer.",
        epilog=_EPILOG,
        add_help=add_help,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument(
        "input",
        nargs="?",
        metavar="INPUT",
        help="directory (searched through), s3://bucket/prefix, one video, or a list of videos: "
        "Parquet, CSV, TSV or JSON with uri and optionally video_id and label, or text with "
        "`path label` in each line",
    )
    made.add_argument(
        "output", nargs="?", metavar="OUTPUT", help="directory or s3://bucket/prefix of the run"
    )
    add_model_flags(made)
    add_pruning_flags(made)
    work = made.add_argument_group("work")
    add_protocol_flags(work, _VIEWS[task])
    _add_extent_flags(work)
    _add_proof_flags(made)
    _add_budget_flags(made)
    add_failure_flags(made)
    add_pool_flags(work)
    return made


def given_flags(arguments: argparse.Namespace, *, left_out: Collection[str] = ()) -> list[str]:
    """The flags of `parser` that are not at their default, as words of a command line.

    `left_out` names attributes of `arguments` whose flags are not wanted.
    """
    words = []
    for action in parser("k400", add_help=False)._actions:
        value = getattr(arguments, action.dest)
        if not action.option_strings or action.dest in left_out or value == action.default:
            continue
        flag = action.option_strings[0]
        if action.nargs == 0:
            words.append(flag)
        elif str(value).startswith("-"):
            words.append(f"{flag}={value}")
        else:
            words += [flag, str(value)]
    return words


def asked_of_work(
    arguments: argparse.Namespace, *, task: str, source: str, output: str, checkpoint: str
) -> LabelOptions:
    """What the flags of a model, a protocol, failures and pools say; all else at its default.

    Raises:
        UsageError, ValueError: a value is none.
    """
    return LabelOptions(
        task=task,
        source=source,
        output=output,
        checkpoint=checkpoint,
        architecture=arguments.arch,
        labels=arguments.labels,
        protocol=arguments.protocol,
        views=parse_views(arguments.views) if arguments.views else None,
        max_failed=FailureLimit.parse(arguments.max_failed) if arguments.max_failed else None,
        retry_failed=arguments.retry_failed,
        decoder=arguments.decoder,
        fetch_s=parse_seconds(arguments.fetch_timeout) if arguments.fetch_timeout else None,
        decode_s=parse_seconds(arguments.decode_timeout) if arguments.decode_timeout else None,
        decoders=parse_decoders(arguments.decoders) if arguments.decoders else None,
        labelers=arguments.labelers,
        max_cpus=arguments.max_cpus,
        max_gpus=arguments.max_gpus,
        batch_size=arguments.batch_size,
        compile=arguments.compile,
    )


def add_model_flags(made: argparse.ArgumentParser) -> None:
    """Which weights."""
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
        help="class names for a checkpoint without them: one per line, CSV, TSV or JSON, with or "
        "without ids",
    )


def add_protocol_flags(
    work: argparse._ArgumentGroup, published: str = "5x3 for VideoMAE on Kinetics-400"
) -> None:
    """How frames and crops are taken."""
    work.add_argument(
        "--protocol",
        choices=tuple(PROTOCOLS),
        help="how frames and crops are taken (default: as the model's accuracy was published)",
    )
    work.add_argument(
        "--views",
        type=str,
        metavar="CxS",
        help=f"clips x spatial crops of each video (default: the protocol's, {published})",
    )


def _add_extent_flags(work: argparse._ArgumentGroup) -> None:
    work.add_argument(
        "--clip-every",
        metavar="T",
        help="a timeline for long recordings: a clip with a label of its own every T, such as 2s, "
        "500ms or 1m; recordings are cut into units by time, each of which reads its part only; "
        "--views is then clips of a unit x crops (16x1)",
    )
    work.add_argument(
        "--early-exit",
        metavar="FILE",
        help="evaluate the views of a video only until its margin reaches the threshold in this "
        "file of jobs/calibrate.py (or s3://...), fitted for the same model, pruning and protocol",
    )
    add_input_flags(work)
    work.add_argument("--limit", type=int, metavar="N", help="label the first N videos only")


def _add_proof_flags(made: argparse.ArgumentParser) -> None:
    proof = made.add_argument_group("what it cost and what it kept")
    proof.add_argument(
        "--shadow-share",
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
        help="with --shadow-share: warn when a smaller share of labels is kept, such as 98%%",
    )
    proof.add_argument(
        "--prices",
        type=Path,
        metavar="FILE",
        help="what machines cost, for the reports: a YAML file such as infra/prices.yaml",
    )
    proof.add_argument(
        "--gallery",
        type=int,
        default=3,
        metavar="N",
        help="videos whose kept tokens the run's report shows (default: %(default)s)",
    )


def _add_budget_flags(made: argparse.ArgumentParser) -> None:
    spending = made.add_argument_group("budget, with --early-exit")
    spending.add_argument(
        "--budget-flops",
        type=float,
        metavar="FLOPS",
        help="multiply-accumulates that labeling may take, such as 2e18; never exceeded: where the "
        "fitted threshold takes more, fewer views are evaluated, and the report says what that "
        "costs in labels (the shadow sample comes on top)",
    )
    spending.add_argument(
        "--budget-cost",
        type=float,
        metavar="MONEY",
        help="the same in money, for device time and decoding by --prices, in their currency; kept "
        "as far as time can be measured",
    )


def add_failure_flags(made: argparse.ArgumentParser) -> None:
    """What is done about videos that fail."""
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


def add_input_flags(work: argparse._ArgumentGroup) -> None:
    """Which files are videos."""
    work.add_argument(
        "--all-files",
        action="store_true",
        help="of a directory or prefix, take files whatever their names are, unless their first "
        "bytes show that they are no video (pictures, text, archives, ...)",
    )


def add_pool_flags(work: argparse._ArgumentGroup) -> None:
    """Who does the work."""
    work.add_argument(
        "--decoder", choices=DECODERS, default=DECODERS[0], help="default: %(default)s"
    )
    work.add_argument(
        "--fetch-timeout",
        metavar="T",
        help="how long fetching one video from object storage may take, waits included, such as "
        "10m for large files (default: 2m)",
    )
    work.add_argument(
        "--decode-timeout",
        metavar="T",
        help="how long decoding one video may take on top of that, and how long a decoder may show "
        "no progress, such as 10m (default: 1m); videos of which many frames must be decoded have "
        "more, by their bytes and frames, up to an hour",
    )
    work.add_argument(
        "--decoders",
        metavar="N|MIN:MAX|auto",
        help="decode actors (default: what the cores allow); auto measures on a sample how many "
        "keep the labelers busy",
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


def parse_share(text: str) -> float:
    """0.01 of `1%` or `0.01`.

    Raises:
        argparse.ArgumentTypeError: it is neither, or could be both.
    """
    number = text.strip()
    if number in ("1", "1."):
        raise argparse.ArgumentTypeError("1 may be meant as 1% or as 100%; write one of them")
    try:
        return float(number[:-1]) / 100 if number.endswith("%") else float(number)
    except ValueError:
        raise argparse.ArgumentTypeError(f"a share is written 1% or 0.01; got {text!r}") from None
