"""The command line that the labelling jobs share; they differ in their protocol alone."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline.demo.archive import DEMO, ArchiveSettings, demo_archive
from pipeline.errors import RunError, UsageError
from pipeline.label_flags import asked_of_work, parser
from pipeline.label_options import LabelOptions
from pipeline.label_plan import plan_labelling
from pipeline.label_run import finished, is_finished, label
from pipeline.messages import best_effort, say, tell
from pipeline.nothing_labeled import check_anything_labeled
from pipeline.policies.budget import Budget
from pipeline.prices import Prices
from pipeline.pruning_flags import pruning_from
from pipeline.ray_session import check_outlives_job
from pipeline.run_directory import RunDirectory
from pipeline.summary import summary
from workers.sampling import parse_seconds

_DEMO_VIDEOS = 48


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
            say(f"{plan.run.root.uri} is complete; nothing to do.")
            content = finished(plan.run, options)
            said: str | None = _summary_of_finished(plan.run, content)
        else:
            content = label(plan, options)
            said = best_effort(
                "The summary",
                lambda: summary(plan.run, content),
                again="The run is finished; the same command prints the summary again.",
            )
        if said is not None:
            tell(said)
        check_anything_labeled(plan.run, content)
    except RunError as error:
        print(f"error: {error}\n{error.advice}".rstrip(), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped. Run the same command again to resume.", file=sys.stderr)
        return 1
    except (UsageError, ValueError, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    return 0


def _summary_of_finished(run: RunDirectory, content: dict[str, Any]) -> str:
    """The summary; for tables that were damaged since the run finished, what mends them."""
    try:
        return summary(run, content)
    except (pa.ArrowException, OSError, KeyError) as error:
        raise RunError(
            f"{run.root.uri} is finished, and its tables cannot be read: "
            f"{' '.join(str(error).split())}",
            advice=f"Delete {run.success.uri} and run the same command again, which builds them "
            f"anew.",
        ) from error


def options_from(task: str, arguments: argparse.Namespace) -> LabelOptions:
    """What the flags of `parser` say; without INPUT of the demo archive, made where it is not.

    Raises:
        UsageError, ValueError: they do not go together, or a value is none.
    """
    source, output, checkpoint = arguments.input, arguments.output, arguments.checkpoint
    if source is None:
        checkpoint = checkpoint or "demo"
        source = str(demo_archive("videos", ArchiveSettings(videos=_DEMO_VIDEOS)))
        output = str(DEMO / _demo_output(task, arguments))
    if output is None:
        raise UsageError("OUTPUT is missing: name a directory or s3://bucket/prefix for the labels")
    if arguments.output:
        check_outlives_job(output)
    if checkpoint is None:
        raise UsageError(
            "--checkpoint is missing: name fine-tuned weights, such as "
            "MCG-NJU/videomae-base-finetuned-kinetics (licence CC-BY-NC-4.0), a file, or demo"
        )
    return dataclasses.replace(
        asked_of_work(arguments, task=task, source=source, output=output, checkpoint=checkpoint),
        pruning=pruning_from(arguments),
        r=arguments.r,
        every_s=parse_seconds(arguments.every) if arguments.every else None,
        all_files=arguments.all_files,
        limit=arguments.limit,
        policy=arguments.policy,
        shadow=arguments.shadow,
        min_agreement=arguments.min_agreement,
        prices=Prices.read(arguments.prices) if arguments.prices else None,
        budget=_budget(arguments),
        gallery=arguments.gallery,
    )


def _budget(arguments: argparse.Namespace) -> Budget | None:
    if arguments.budget is None and arguments.budget_usd is None:
        return None
    prices = Prices.read(arguments.prices) if arguments.prices else None
    return Budget(flops=arguments.budget, money=arguments.budget_usd, prices=prices)


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
