"""Commands of the jobs that a screen proposes: written so that the user's shell can run them."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from sta.text import printable

_ROOT = Path(__file__).resolve().parents[1]

# Environment variable that Ray's job supervisor sets for a submitted job.
_OF_SUBMITTED = "RAY_JOB_CONFIG_JSON_ENV_VAR"


def is_submitted() -> bool:
    """Whether this process is a job that `ray job submit` started."""
    return _OF_SUBMITTED in os.environ


def short_path(uri: str) -> str:
    """A local path below the working directory as seen from there. A submitted job's is not the
    user's, who is told whole paths.
    """
    if "://" in uri or is_submitted():
        return uri
    try:
        relative = os.path.relpath(uri)
    except FileNotFoundError:  # Ray unpacked that folder for the job, and has deleted it again
        return uri
    return uri if relative.startswith(os.pardir) else relative


def job_words(name: str) -> list[str]:
    """`python` and a job's file as the user can run it: from here, or of a submitted job from the
    repository.
    """
    file = f"jobs/{name}.py"
    return ["python", file if is_submitted() else short_path(str(_ROOT / file))]


def job_command(name: str, *words: str) -> str:
    """The command line of a job with these words."""
    return command_line([*job_words(name), *words])


def arguments(*places: str, flags: Sequence[str] = ()) -> list[str]:
    """Positional words before flags; behind them where argparse would take one for a flag."""
    if any(place.startswith("-") for place in places):
        return [*flags, "--", *places]
    return [*places, *flags]


def flag_words(flag: str, value: str) -> list[str]:
    """A flag and its value, which argparse must not take for another flag."""
    return [f"{flag}={value}"] if value.startswith("-") else [flag, value]


def command_line(words: Sequence[str]) -> str:
    """The words as one line for bash and zsh."""
    return " ".join(map(_quoted, words))


def next_lines(steps: Mapping[str, Sequence[str]]) -> list[str]:
    """Lines of what to do next, each command on a line of its own; none without a step.

    Args:
        steps: the words of a command by what it is for.
    """
    if not steps:
        return []
    return ["", "Next:"] + [
        line
        for about, words in steps.items()
        for line in (f"  {about}", f"    {command_line(words)}")
    ]


def _quoted(word: str) -> str:
    """A word of a command line; what is not printable as bash and zsh take it: $'\\x0a'."""
    if printable(word) == word:
        return shlex.quote(word)
    text = word.replace("\\", "\\\\").replace("'", "\\'")
    letters = (
        each if printable(each) == each else "".join(f"\\x{byte:02x}" for byte in each.encode())
        for each in text
    )
    return f"$'{''.join(letters)}'"
