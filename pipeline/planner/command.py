"""The command line of the planner: the labeling job's flags, prices and a deadline."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence

from pipeline.command_line import JobParser, words_given
from pipeline.errors import UsageError
from pipeline.execution.pools import FURTHER_SHARE
from pipeline.execution.run_failure import after_work
from pipeline.exit_codes import exit_code
from pipeline.flags import add_flags, options_of
from pipeline.formatting import json_text
from pipeline.job_commands import command_line, job_words
from pipeline.labeling import flags as label_flags
from pipeline.labeling.job import options_from
from pipeline.labeling.plan import plan_labeling
from pipeline.messages import say, tell
from pipeline.planner.calibrate import calibrate
from pipeline.planner.flags import PlanFlags
from pipeline.planner.from_run import FinishedRun, finished_run
from pipeline.planner.local_pools import LocalPools, buffered_units, grain_rule, pools_of
from pipeline.planner.plan import Plan, PlanVariant, plan_for, scaled
from pipeline.planner.predict import Terms
from pipeline.planner.rates import UNPRUNED, MeasuredRates, Workload
from pipeline.planner.report import as_json, text
from pipeline.run.run_directory import RunDirectory
from pipeline.storage.location import Location
from workers.sampling import Protocol

_OUTPUT = "OUTPUT"
_ABOUT = """\
Estimate the machines, hours and cost of labeling INPUT by a deadline, pruned and unpruned.

Takes the flags of the labeling job, prices and a deadline. The job decodes and labels a sample of
INPUT for a minute to measure the rates. If INPUT is the directory of a finished run, the rates of
that run are used."""
_EPILOG = """\
Exit codes: 0, the plan is printed; 1, nothing could be measured; 2, the command was wrong, or the
deadline is impossible."""

# Flags of the labeling job that the plan itself is to say, or that are about another attempt.
_NOT_PRINTED = ("r", "decoders", "labelers", "prices", "retry_failed")
# Flags that the labeling job refuses with all views of the unpruned model.
_OF_PRUNING = ("shadow_share", "min_agreement")
# Flags that the ways of labeling do without that are planned for comparison.
_OF_EARLY_EXIT = ("early_exit", "decode")


def main(argv: Sequence[str] | None = None) -> int:
    """Plans, and returns the exit code; `argv` None for the process's arguments."""
    return exit_code(lambda: _plan_and_tell(parser().parse_args(argv)), resumes=False)


def _plan_and_tell(arguments: argparse.Namespace) -> None:
    found = _plan(arguments)
    commands = {
        each.labeling.name: _command(arguments, each, is_asked_for=each is found.variants[0])
        for each in found.variants
    }
    if arguments.json is not None:
        content = json_text(as_json(found, commands), allow_nan=True)
        with after_work():
            arguments.json.write_text(content)
    prices = found.terms.prices if found.terms is not None else None
    tell(text(found, commands, gpu_price=bool(prices and prices.gpu_hour)))


def parser() -> argparse.ArgumentParser:
    """The planner's flags and the labeling job's."""
    made = JobParser(
        parents=[label_flags.parser("k400", add_help=False)],
        conflict_handler="resolve",
        description=_ABOUT,
        epilog=_EPILOG,
    )
    add_flags(made, PlanFlags)
    return made


def _plan(arguments: argparse.Namespace) -> Plan:
    asked = options_of(PlanFlags, arguments)
    prices = asked.prices_or(arguments.prices)
    rates, work, protocol, pools, listing_s = _measured(arguments)
    rates = rates.with_shadow(arguments.shadow_share)
    listed = work.videos
    work = scaled(work, videos=asked.videos, archive_hours=asked.archive_hours)
    grain_of = grain_rule(protocol, arguments.batch_size, work.units, on_gpu=rates.machine.gpus > 0)
    terms = Terms(
        work=work,
        deadline_s=asked.deadline or 0.0,
        prices=prices,
        grain_of=grain_of,
        buffer_units=buffered_units(rates.machine, protocol),
        preemptions=asked.preemptions,
        limits=asked.limits,
        listing_s=listing_s * work.videos / listed,
    )
    return plan_for(rates, terms, pools, with_cluster=asked.deadline is not None)


def _measured(
    arguments: argparse.Namespace,
) -> tuple[MeasuredRates, Workload, Protocol, LocalPools, float]:
    """Rates, work, protocol, pools of a local run and seconds of a listing."""
    if arguments.input is not None:
        run = RunDirectory(Location.of(arguments.input))
        if run.exists():
            done = finished_run(run)
            if arguments.early_exit is not None:
                raise UsageError(
                    f"{run.root.uri} is a finished run, whose rates are those of its own settings; "
                    f"leave --early-exit out, or give its videos as INPUT"
                )
            _adopt(arguments, done)
            return done.rates, done.work, done.protocol, done.pools, 0.0
        arguments.output = arguments.output or _OUTPUT
    options = options_from(arguments.task, arguments)
    say("Calibrating: loading the model.")
    plan = plan_labeling(options)
    found = calibrate(plan, options, seconds=arguments.seconds, say=say)
    pools = pools_of(plan, options, found.rates.machine, found.work.units)
    local = LocalPools(pools.most_decoders, pools.labelers)
    return found.rates, found.work, plan.protocol, local, found.listing_s


def _adopt(arguments: argparse.Namespace, done: FinishedRun) -> None:
    """Takes a run's settings over, since its rates hold for these: the command printed has them."""
    views, pruning = done.protocol, done.identity.pruning
    arguments.input = done.identity.input
    arguments.output = arguments.output or _OUTPUT
    arguments.task = "ssv2" if views.name.endswith("ssv2") else "k400"
    adopted = dict(pruning) | {
        "checkpoint": done.checkpoint,
        "protocol": views.name,
        "views": f"{views.clips}x{views.crops}",
        "every_s": f"{views.every_s:g}s" if views.every_s is not None else None,
        "decoder": done.identity.decoder,
        "early_exit": done.early_exit,
    }
    defaults = label_flags.parser("k400")
    for name, value in adopted.items():
        arguments.given.pop(name, None)
        if value is not None and value != defaults.get_default(name):
            arguments.given[name] = [str(value)]


def _command(arguments: argparse.Namespace, variant: PlanVariant, *, is_asked_for: bool) -> str:
    """The labeling command: the flags that were given, and those that the plan recommends."""
    words = job_words(f"label_{arguments.task}")
    if arguments.input is not None:
        words += [arguments.input, arguments.output or _OUTPUT]
    labeling, choice = variant.labeling, variant.choice
    left_out = list(_NOT_PRINTED)
    if labeling.name == UNPRUNED:
        left_out += _OF_PRUNING
    if not is_asked_for:
        left_out += _OF_EARLY_EXIT
    words += words_given(label_flags.parser("k400"), arguments, left_out=left_out)
    words += ["--r", str(labeling.r)]
    if choice is not None:
        rented = choice.rented
        # A run with early exit has decoders of further clips beside those of --decoders.
        beside = FURTHER_SHARE if labeling.adaptive else 0.0
        decoders = math.ceil(rented.decoders / (1 + beside))
        words += ["--decoders", str(decoders), "--labelers", str(rented.labelers)]
    return command_line(words)
