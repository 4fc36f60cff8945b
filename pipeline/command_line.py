"""What the command lines of all jobs share: the parser of flags, and exit codes.

Each mistake is one line on stderr. Exit code 2: the command was wrong; 1: the work could not be
finished.
"""

from __future__ import annotations

import argparse
import difflib
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NoReturn

from pipeline.errors import RunError, UsageError
from pipeline.messages import say

# A value, not a flag: `--r -1`.
_NUMBER = re.compile(r"-[\d.]")


class JobParser(argparse.ArgumentParser):
    """An `ArgumentParser` that names the nearest flag or choice when one does not exist.

    Flags are taken in full only: an abbreviation that works today would change its meaning when a
    flag is added. A flag that does not exist is reported before anything that is missing, since it
    is often the misspelled name of what is missing.
    """

    def __init__(self, *args: Any, **settings: Any) -> None:
        settings.setdefault("allow_abbrev", False)
        super().__init__(*args, **settings)
        self.register("type", int, _whole_number)
        self.register("type", float, _number)

    def parse_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> argparse.Namespace:
        """The arguments; exits with code 2 where they are wrong."""
        parsed, extra = self.parse_known_args(args, namespace)
        if extra:
            names = [str(each.metavar or each.dest) for each in self._get_positional_actions()]
            taken = f"{self.prog} takes {' '.join(names)}" if names else f"{self.prog} takes flags"
            self.error(f"too many arguments: {' '.join(map(repr, extra))}; {taken} only")
        return parsed

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """The arguments and what is left over, which is never a flag; for `parse_args`, and for
        the parser of jobs that have parts.
        """
        given = list(sys.argv[1:] if args is None else args)
        self._check_flags(given)
        return super().parse_known_args(given, namespace)

    def error(self, message: str) -> NoReturn:
        """Prints one line and exits with code 2."""
        said = message.removeprefix("argument ")
        more = "" if said.endswith("?") else "; --help explains all flags"
        self.exit(2, f"error: {said}{more}\n")

    def _check_flags(self, given: Sequence[str]) -> None:
        """Exits where a flag does not exist. The part of a job that has parts checks its own."""
        for word in given:
            name = word.partition("=")[0]
            is_flag = name.startswith("-") and len(name) > 1 and " " not in name
            if name == "--" or (not is_flag and self._subparsers is not None):
                return
            known = self._option_string_actions
            if is_flag and name not in known and not _NUMBER.match(name):
                self.error(f"there is no flag {name}{_nearest_flags(name, known)}")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is None or value in action.choices:
            return
        choices = [str(choice) for choice in action.choices]
        nearest = difflib.get_close_matches(str(value), choices, n=1)
        hint = f"; did you mean {nearest[0]}?" if nearest else ""
        raise argparse.ArgumentError(
            action, f"{str(value)!r} is not one of {', '.join(choices)}{hint}"
        )


def exit_code(work: Callable[[], None], *, resumes: bool = True) -> int:
    """Does a command's work and returns its exit code.

    Args:
        work: parses nothing and prints its own result. Errors of files after the work has begun
            must reach here as RunError (`run_failure.after_work`).
        resumes: whether the same command goes on where this one stopped, which is said then.

    Returns:
        0, the work is done; 1, it could not be finished; 2, the command was wrong.
    """
    try:
        work()
    except RunError as error:
        say(f"error: {error}\n{error.advice if resumes else ''}".rstrip())
        return 1
    except KeyboardInterrupt:
        say("\nStopped. Run the same command again to resume." if resumes else "\nStopped.")
        return 1
    except (UsageError, ValueError, OSError) as error:
        say(f"error: {' '.join(str(error).split())}")
        return 2
    return 0


def _nearest_flags(name: str, flags: Iterable[str]) -> str:
    """The flags that an unknown one may stand for: those that it begins, else the nearest."""
    bare = name.strip("-").lower().replace("_", "-")
    by_name = {flag.strip("-"): flag for flag in flags}
    begun = sorted(each for each in by_name if bare and each.startswith(bare))
    nearest = [bare] if bare in by_name else begun or difflib.get_close_matches(bare, by_name, n=1)
    if not nearest:
        return ""
    *others, last = [by_name[each] for each in nearest]
    return f"; did you mean {', '.join(others)}{' or ' * bool(others)}{last}?"


def _whole_number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
