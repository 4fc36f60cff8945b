"""What a command prints, and steps that it can do without.

Commands print by `say` and `tell` alone: these show no control character and no key, whoever wrote
the text. Where a name stands in a text of several lines, `sta.text.displayed` keeps it on its line.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable
from typing import TypeVar

from sta.text import displayed

Made = TypeVar("Made")


def say(line: str | None) -> None:
    """Prints a line on stderr; None prints nothing. Never fails: a closed screen costs no work."""
    if line:
        with contextlib.suppress(OSError, ValueError):
            print(_lines(line), file=sys.stderr, flush=True)


def tell(text: str) -> None:
    """Prints a command's result on stdout, whether anybody still reads it or not."""
    try:
        print(_lines(text), flush=True)
    except OSError:
        # Python writes what is left once more when it ends, and would fail there.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _lines(text: str) -> str:
    return "\n".join(map(displayed, text.split("\n")))


def best_effort(what: str, make: Callable[[], Made], *, again: str) -> Made | None:
    """Runs a step that a run does not need; whatever it fails on costs the step alone.

    Rows, tables and _SUCCESS are made outside of such steps. Reports, figures and lines for people
    are made inside, so that no fault in them can cost a night's work.

    Args:
        what: the step's result, as the subject of a sentence, such as "The report".
        make: the step.
        again: a sentence that says how to make the result again.

    Returns:
        What `make` returns; None where it failed, after one line on stderr that says so.
    """
    try:
        return make()
    except (Exception, SystemExit) as error:  # libraries may call sys.exit; Ctrl-C passes
        reason = " ".join(str(error).split()) or "no reason given"
        say(f"{what} could not be made: {type(error).__name__}: {reason}. {again}")
        return None
