"""The command line that the labeling jobs share; they differ in their protocol alone."""

from __future__ import annotations

import argparse
import dataclasses
import re
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from pipeline.command_line import exit_code
from pipeline.early_exit.budget import Budget
from pipeline.errors import RunError, UsageError
from pipeline.execution.ray_session import check_outlives_job
from pipeline.inputs.demo.archive import DEMO, ArchiveSettings, demo_archive
from pipeline.labeling.flags import asked_of_work, given_flags, parser
from pipeline.labeling.next_steps import OtherRun, other_output
from pipeline.labeling.nothing_labeled import check_anything_labeled
from pipeline.labeling.options import LabelOptions
from pipeline.labeling.plan import plan_labeling
from pipeline.labeling.pruning_flags import pruning_from, pruning_names
from pipeline.labeling.run import finished, is_finished, label
from pipeline.labeling.summary import summary
from pipeline.messages import best_effort, say, tell
from pipeline.prices import Prices
from pipeline.run.run_directory import RunDirectory
from pipeline.run.view_savings import is_pruned
from sta.checkpoints.remote import without_secrets
from workers.sampling import parse_seconds

_DEMO_VIDEOS = 48

# Flags by which runs differ so that they cannot share an OUTPUT, besides those of pruning.
_CONFIGURING = (
    *("checkpoint", "labels", "protocol", "views", "clip_every", "all_files", "limit", "decoder"),
    *("early_exit", "budget_flops", "budget_cost", "shadow_share"),
)

# What an unpruned run of all views is refused with, besides the flags of pruning.
_NOT_ALL_UNPRUNED = ("shadow_share", "min_agreement", "early_exit", "budget_flops", "budget_cost")


def main(task: str, argv: Sequence[str] | None = None) -> int:
    """Runs a labeling job and returns its exit code.

    Args:
        task: "k400" or "ssv2".
        argv: arguments, None for those of the process.
    """
    arguments = parser(task).parse_args(argv)
    return exit_code(lambda: _label(task, arguments))


def _label(task: str, arguments: argparse.Namespace) -> None:
    options = options_from(task, arguments)
    plan = plan_labeling(options)
    if is_finished(plan.run, retry_failed=options.retry_failed):
        say(f"{plan.run.root.uri} is complete; nothing to do.")
        content = finished(plan.run, options)
        said: str | None = _summary_of_finished(task, arguments, plan.run, content)
    else:
        content = label(plan, options)
        said = best_effort(
            "The summary",
            lambda: _summary(
                task, arguments, plan.run, content, content["attempts"][-1]["units_before"]
            ),
            again="The run is finished; the same command prints the summary again.",
        )
    if said is not None:
        tell(said)
    check_anything_labeled(plan.run, content)


def _summary(
    task: str,
    arguments: argparse.Namespace,
    run: RunDirectory,
    content: dict[str, Any],
    before: int | None,
) -> str:
    other = _other_run(task, arguments, content["identity"])
    return summary(task, run, content, other=other, before=before)


def _summary_of_finished(
    task: str, arguments: argparse.Namespace, run: RunDirectory, content: dict[str, Any]
) -> str:
    """The summary; for tables that were damaged since the run finished, what mends them."""
    try:
        return _summary(task, arguments, run, content, None)
    except (pa.ArrowException, OSError, KeyError) as error:
        raise RunError(
            f"{run.root.uri} is finished, and its tables cannot be read: "
            f"{' '.join(str(error).split())}",
            advice=f"Delete {run.success.uri} and run the same command again, which builds them "
            f"anew.",
        ) from error


def _other_run(task: str, arguments: argparse.Namespace, identity: dict[str, Any]) -> OtherRun:
    """The run over the same videos that is best compared with this one: of a pruned one and of one
    that stops early, all views unpruned; else the pruned one.
    """
    asked = argparse.Namespace(**vars(arguments))
    defaults = parser(task)
    pruned, adaptive = is_pruned(identity), "early_exit" in identity
    if pruned or adaptive:
        for name in (*pruning_names(), *_NOT_ALL_UNPRUNED):
            setattr(asked, name, defaults.get_default(name))
    asked.r = 0 if pruned or adaptive else None
    asked.retry_failed = False
    if asked.checkpoint is not None:
        asked.checkpoint = without_secrets(asked.checkpoint)
    output = (
        str(DEMO / _demo_output(task, asked))
        if asked.input is None
        else other_output(asked.output, pruned=pruned, adaptive=adaptive)
    )
    return OtherRun(given_flags(asked), asked.input, output)


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
    if arguments.output is not None:
        check_outlives_job(arguments.input, "INPUT")
        check_outlives_job(output)
    if checkpoint is None:
        raise UsageError(
            "--checkpoint is missing: name fine-tuned weights, such as "
            "MCG-NJU/videomae-base-finetuned-kinetics (license CC-BY-NC-4.0), a file, or demo"
        )
    return dataclasses.replace(
        asked_of_work(arguments, task=task, source=source, output=output, checkpoint=checkpoint),
        pruning=pruning_from(arguments),
        r=arguments.r,
        every_s=parse_seconds(arguments.clip_every) if arguments.clip_every else None,
        all_files=arguments.all_files,
        limit=arguments.limit,
        early_exit=arguments.early_exit,
        shadow_share=arguments.shadow_share,
        min_agreement=arguments.min_agreement,
        prices=Prices.read(arguments.prices) if arguments.prices else None,
        budget=_budget(arguments),
        gallery=arguments.gallery,
    )


def _budget(arguments: argparse.Namespace) -> Budget | None:
    if arguments.budget_flops is None and arguments.budget_cost is None:
        return None
    prices = Prices.read(arguments.prices) if arguments.prices else None
    return Budget(flops=arguments.budget_flops, money=arguments.budget_cost, prices=prices)


def _demo_output(task: str, arguments: argparse.Namespace) -> str:
    """A folder per configuration, so that runs of the demo stand side by side."""
    r = "default" if arguments.r is None else arguments.r
    defaults = parser(task)
    switches = [name for name in pruning_names() if name not in ("r", "grouping")]
    said = [
        f"-{name}-{_in_a_name(value)}"
        for name in (*switches, *_CONFIGURING)
        if (value := getattr(arguments, name)) != defaults.get_default(name)
    ]
    return f"{task}-{arguments.grouping}-r-{r}{''.join(said)}"


def _in_a_name(value: object) -> str:
    """A flag's value as part of a folder's name."""
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return re.sub(r"[^\w.@+-]+", "-", text.removesuffix(".json")).strip("-")
