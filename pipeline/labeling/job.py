"""A labeling job from its parsed flags to its summary on the screen."""

from __future__ import annotations

import argparse
import re

import pyarrow as pa

from pipeline.command_line import flags_given, words_given
from pipeline.early_exit.budget import Budget
from pipeline.errors import RunError, UsageError
from pipeline.execution.metrics import wait_for_scrape
from pipeline.execution.ray_session import check_outlives_job, is_own_ray
from pipeline.flags import options_of
from pipeline.inputs.demo.archive import DEMO, ArchiveSettings, demo_archive
from pipeline.inputs.list_options import LISTS, ListOptions
from pipeline.labeling.embedding_flags import EMBEDDINGS, EmbeddingFlags
from pipeline.labeling.flags import parser
from pipeline.labeling.next_steps import OtherRun, other_output
from pipeline.labeling.nothing_labeled import check_anything_labeled
from pipeline.labeling.options import INPUTS, LabelOptions
from pipeline.labeling.plan import plan_labeling
from pipeline.labeling.pruning_flags import PRUNING, PruningFlags
from pipeline.labeling.report_flags import REPORT_FLAGS, ReportFlags
from pipeline.labeling.run import finished, is_finished, label
from pipeline.labeling.summary import summary
from pipeline.messages import best_effort, say, tell
from pipeline.prices import Prices
from pipeline.run.identity import Identity
from pipeline.run.run_directory import RunDirectory
from pipeline.run.run_record import RunRecord
from pipeline.storage.location import Location
from sta.checkpoints.remote import without_secrets

_DEMO_VIDEOS = 48

# Flags by which runs differ so that they cannot share an OUTPUT, besides those of pruning.
_CONFIGURING = (
    *("checkpoint", "labels", "label_map", "protocol", "views", "every_s", *INPUTS, *LISTS),
    *("since", "limit", "decoder", "decode", "precision", "early_exit"),
    *("budget_flops", "budget_cost", "shadow_share", *EMBEDDINGS),
)

# What an unpruned run of all views is refused with, besides the flags of pruning.
_NOT_ALL_UNPRUNED = ("shadow_share", "min_agreement", "early_exit", "budget_flops", "budget_cost")


def run(task: str, arguments: argparse.Namespace) -> None:
    """Labels what the flags of `parser` ask for, and prints the summary.

    Raises:
        UsageError, ValueError, OSError: the command was wrong.
        RunError: the run could not finish, or nothing could be labeled.
    """
    options = options_from(task, arguments)
    plan = plan_labeling(options)
    if is_finished(plan.run, retry_failed=options.retry_failed):
        say(f"{plan.run.root.uri} is complete; nothing to do.")
        record = finished(plan.run, options)
        said: str | None = _summary_of_finished(task, arguments, plan.run, record)
    else:
        record = label(plan, options)
        said = best_effort(
            "The summary",
            lambda: _summary(task, arguments, plan.run, record, record.attempts[-1].units_before),
            again="The run is finished; the same command prints the summary again.",
        )
    if said is not None:
        tell(said)
    if not is_own_ray():
        wait_for_scrape()
    check_anything_labeled(plan.run, record)


def _summary(
    task: str,
    arguments: argparse.Namespace,
    run: RunDirectory,
    record: RunRecord,
    before: int | None,
) -> str:
    other = _other_run(task, arguments, record.identity)
    return summary(task, run, record, other=other, before=before)


def _summary_of_finished(
    task: str, arguments: argparse.Namespace, run: RunDirectory, record: RunRecord
) -> str:
    """The summary; for tables that were damaged since the run finished, what mends them."""
    try:
        return _summary(task, arguments, run, record, None)
    except (pa.ArrowException, OSError, KeyError) as error:
        raise RunError(
            f"{run.root.uri} is finished, and its tables cannot be read: "
            f"{' '.join(str(error).split())}",
            advice=f"Delete {run.success.uri} and run the same command again, which builds them "
            f"anew.",
        ) from error


def _other_run(task: str, arguments: argparse.Namespace, identity: Identity) -> OtherRun:
    """The run over the same videos that is best compared with this one: of a pruned one and of one
    that stops early, all views unpruned; else the pruned one.
    """
    pruned, adaptive = identity.is_pruned, identity.early_exit is not None
    given = dict(arguments.given)
    left_out = (*PRUNING, *_NOT_ALL_UNPRUNED) if pruned or adaptive else ("r",)
    # With --since the same videos are those of the manifest, whatever list INPUT is.
    of_list = LISTS if identity.since else ()
    for name in ("retry_failed", "since", *REPORT_FLAGS, *left_out, *of_list):
        given.pop(name, None)
    if pruned or adaptive:
        given["r"] = ["0"]
    if "checkpoint" in given:
        given["checkpoint"] = [without_secrets(arguments.checkpoint)]
    flags = words_given(parser(task), argparse.Namespace(given=given))
    output = (
        str(DEMO / _demo_output(task, parser(task).parse_args(flags)))
        if arguments.input is None
        else other_output(arguments.output, pruned=pruned, adaptive=adaptive)
    )
    if identity.since:
        return OtherRun(flags, RunDirectory(Location.of(arguments.output)).manifest.uri, output)
    return OtherRun(flags, arguments.input, output)


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
        if arguments.video_root is not None:
            check_outlives_job(arguments.video_root, "--video-root")
        for earlier in arguments.since:
            check_outlives_job(earlier, "--since")
        if arguments.compare_to is not None:
            check_outlives_job(arguments.compare_to, "--compare-to")
    if checkpoint is None:
        raise UsageError(
            "--checkpoint is missing: name fine-tuned weights, such as "
            "MCG-NJU/videomae-base-finetuned-kinetics (license CC-BY-NC-4.0), a file, or demo"
        )
    prices = Prices.read(arguments.prices) if arguments.prices else None
    given = flags_given(parser(task), arguments)
    for name in ("input", "checkpoint"):
        if name in given:
            given[name] = without_secrets(str(given[name]))
    return options_of(
        LabelOptions,
        arguments,
        task=task,
        source=source,
        output=output,
        checkpoint=checkpoint,
        pruning=options_of(PruningFlags, arguments),
        features=options_of(EmbeddingFlags, arguments),
        lists=options_of(ListOptions, arguments),
        reports=options_of(ReportFlags, arguments),
        prices=prices,
        budget=_budget(arguments, prices),
        flags=given,
    )


def _budget(arguments: argparse.Namespace, prices: Prices | None) -> Budget | None:
    if arguments.budget_flops is None and arguments.budget_cost is None:
        return None
    return Budget(flops=arguments.budget_flops, money=arguments.budget_cost, prices=prices)


def _demo_output(task: str, arguments: argparse.Namespace) -> str:
    """A folder per configuration, so that runs of the demo stand side by side."""
    r = "default" if arguments.r is None else arguments.r
    named = (*(name for name in PRUNING if name not in ("r", "grouping")), *_CONFIGURING)
    actions = {action.dest: action for action in parser(task)._actions}
    said = []
    for name in named:
        value = getattr(arguments, name)
        if value != actions[name].default:
            flag = actions[name].option_strings[0].strip("-").replace("-", "_")
            words = arguments.given[name]
            text = f"{value:g}" if isinstance(value, float) else "-".join(words) or str(value)
            said.append(f"-{flag}-{_in_a_name(text)}")
    return f"{task}-{arguments.grouping}-r-{r}{''.join(said)}"


def _in_a_name(text: str) -> str:
    """A flag's value as part of a folder's name."""
    return re.sub(r"[^\w.@+-]+", "-", text.removesuffix(".json")).strip("-")
