"""The parsers of all jobs, as each makes its own."""

from __future__ import annotations

import argparse
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path
from unittest import mock

from pipeline.command_line import JobParser

JOBS = Path(__file__).parents[2] / "jobs"

# Jobs that have parts, each with flags of its own.
PARTS = {
    "benchmark": ("model", "decode", "labeler", "precision", "chain", "pipeline"),
    "reproduce": ("tables", "compare", "trajectory", "gradnorm"),
}

# Every command line: the job, and the part of a job that has parts.
COMMANDS: list[tuple[str, ...]] = [
    *((path.stem,) for path in sorted(JOBS.glob("*.py")) if path.stem != "__init__"),
    *((job, part) for job, parts in PARTS.items() for part in parts),
]


class _MadeError(Exception):
    """Carries a parser out of the job that made it."""


def run(command: Sequence[str], *words: str) -> None:
    """Runs a job in this process as a command of its own."""
    job, *part = command
    path = JOBS / f"{job}.py"
    with mock.patch.object(sys, "argv", [str(path), *part, *words]):
        runpy.run_path(str(path), run_name="__main__")


def job_parser(command: Sequence[str]) -> argparse.ArgumentParser:
    """The parser of a job, with the flags of the part that is named."""

    def raising(parser: JobParser, *_: object) -> None:
        raise _MadeError(parser)

    with mock.patch.object(JobParser, "parse_args", raising):
        try:
            run(command)
        except _MadeError as made:
            (parser,) = made.args
    for part in command[1:]:
        parser = parts_of(parser)[part]
    assert isinstance(parser, argparse.ArgumentParser)
    return parser


def parts_of(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The parsers of a job's parts, by name; none of a job without parts."""
    found = [each for each in parser._actions if isinstance(each, argparse._SubParsersAction)]
    return dict(found[0].choices) if found else {}


def flags(command: Sequence[str]) -> set[str]:
    """All flags that a job takes."""
    return set(job_parser(command)._option_string_actions)
