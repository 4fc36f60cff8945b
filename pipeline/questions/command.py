"""The command that asks an archive a question."""

from __future__ import annotations

import argparse
import dataclasses
import posixpath
import re
from collections.abc import Sequence

from pipeline.errors import RunError, UsageError
from pipeline.execution.ray_session import check_outlives_job
from pipeline.exit_codes import exit_code
from pipeline.flags import options_of
from pipeline.labeling.job import options_from
from pipeline.labeling.options import LabelOptions
from pipeline.messages import say, tell
from pipeline.questions.answer import text
from pipeline.questions.answer_to import ANSWER, PAGE, answer_to
from pipeline.questions.flags import AskFlags, parser
from pipeline.questions.select import SelectionAnswer
from pipeline.storage.location import Location

_REFUSED = {
    "early_exit": "--early-exit",
    "budget_flops": "--budget-flops",
    "budget_cost": "--budget-cost",
    "shadow_share": "--shadow-share",
    "retry_failed": "--retry-failed",
    "since": "--since",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Asks, and returns the exit code; `argv` None for the process's arguments."""
    return exit_code(lambda: _ask_and_tell(parser().parse_args(argv)))


def _ask_and_tell(arguments: argparse.Namespace) -> None:
    arguments = _with_output(arguments)
    flags = options_of(AskFlags, arguments)
    if flags.proxy_run is not None:
        check_outlives_job(flags.proxy_run, "--proxy-run")

    def labeling(source: str, output: str) -> LabelOptions:
        given = argparse.Namespace(**vars(arguments))
        given.input, given.output = source, output
        options = options_from(flags.task, given)
        if arguments.r is None:
            pruning = dataclasses.replace(options.pruning, r=0)
            options = dataclasses.replace(options, pruning=pruning)
        return options

    found = answer_to(arguments.question, arguments.input, arguments.output, flags, labeling)
    if flags.json is not None:
        flags.json.write_bytes(Location.of(arguments.output).child(ANSWER).read_bytes())
    if isinstance(found, SelectionAnswer):
        tell(found.text)
        return
    tell(text(found))
    page = Location.of(arguments.output).child(PAGE)
    if page.exists():
        say(f"Page:      {page.uri}")
    if not found.is_met:
        raise RunError(
            "the interval is wider than --within asks",
            advice="Ask again with a larger --max-reference, or a larger --within.",
        )


def _with_output(arguments: argparse.Namespace) -> argparse.Namespace:
    """The arguments with an OUTPUT.

    Raises:
        UsageError: a flag does not go with a question.
    """
    if arguments.output is None:
        name = posixpath.basename(arguments.input.rstrip("/"))
        arguments.output = f"ask-{re.sub(r'[^A-Za-z0-9._-]+', '-', name) or 'archive'}"
    for name, shown in _REFUSED.items():
        if getattr(arguments, name):
            raise UsageError(f"{shown} does not go with a question; leave it out")
    return arguments
