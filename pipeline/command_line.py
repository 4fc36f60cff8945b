"""Command lines of the jobs: the parser, and --config.

Every parser takes --config: a YAML file with values for flags.
"""

from __future__ import annotations

import argparse
import difflib
import json
import re
import sys
import textwrap
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, NoReturn

from pipeline.errors import UsageError
from pipeline.exit_codes import exit_code
from pipeline.flags import FLAGS, Options, Repeated, add_flags, options_of
from sta.text import displayed

# A value, not a flag: `--r -1`.
_NUMBER = re.compile(r"-[\d.]")
_CONFIG = "--config"


class _HelpFormatter(argparse.HelpFormatter):
    """Wraps each paragraph of a description to the terminal, and breaks no hyphenated name.

    Indented lines, such as examples of commands, stay as they are.
    """

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        paragraphs = text.strip().split("\n\n")
        return "\n\n".join(self._filled(each, width, indent) for each in paragraphs)

    def _filled(self, paragraph: str, width: int, indent: str) -> str:
        parts: list[str] = []
        for is_indented, lines in groupby(paragraph.split("\n"), lambda line: line[:2] == "  "):
            if is_indented:
                parts += lines
            else:
                words = " ".join(lines)
                parts.append(
                    textwrap.fill(words, width, initial_indent=indent, subsequent_indent=indent)
                )
        return "\n".join(parts)

    def _split_lines(self, text: str, width: int) -> list[str]:
        return textwrap.wrap(" ".join(text.split()), width, break_on_hyphens=False)


class JobParser(argparse.ArgumentParser):
    """An `ArgumentParser` that takes --config and names the nearest flag or choice when one does
    not exist.

    Flags are taken in full only: an abbreviation that works today would change its meaning when a
    flag is added. A flag that does not exist is reported before anything that is missing, since it
    is often the misspelled name of what is missing.

    What is parsed has the attribute `given`: from the name of each attribute that the command line
    or the file sets to its words there.
    """

    def __init__(self, *args: Any, config: bool = True, **settings: Any) -> None:
        """`config` False for a job with parts, which have a --config each."""
        settings.setdefault("allow_abbrev", False)
        settings.setdefault("formatter_class", _HelpFormatter)
        super().__init__(*args, **settings)
        self.register("type", int, _whole_number)
        self.register("type", float, _number)
        self._given: dict[str, list[str]] = {}
        self._of_file: dict[str, list[str]] = {}
        if config and self.add_help:
            self.add_argument(
                _CONFIG,
                metavar="FILE",
                help="YAML file with values of flags, such as `r: 64`; flags on the command line "
                "take precedence",
            )

    def parse_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> argparse.Namespace:
        """The arguments; exits with code 2 where they are wrong."""
        parsed, extra = self.parse_known_args(args, namespace)
        for each in self._get_positional_actions():
            # argparse fills what may be left out before the first flag, or never.
            if extra and each.nargs == argparse.OPTIONAL and each.dest not in parsed.given:
                parsed.given[each.dest] = [extra[0]]
                setattr(parsed, each.dest, self._get_values(each, [extra.pop(0)]))
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
        words = list(sys.argv[1:] if args is None else args)
        self._check_flags(words)
        self._given, self._of_file = {}, {}
        namespace = argparse.Namespace() if namespace is None else namespace
        file = _config_in(words) if _CONFIG in self._option_string_actions else None
        positionals = {} if file is None else self._take_file(file, namespace)
        self._of_file = of_file = dict(self._given)
        parsed, extra = super().parse_known_args(words, namespace)
        for name, value in positionals.items():
            if self._given[name] is of_file[name]:
                setattr(parsed, name, value)
        parsed.given = self._given | getattr(parsed, "given", {})
        return parsed, extra

    def error(self, message: str) -> NoReturn:
        """Prints one line and exits with code 2."""
        said = message.removeprefix("argument ")
        more = "" if said.endswith("?") else "; --help explains all flags"
        self.exit(2, f"error: {displayed(said)}{more}\n")

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

    def _get_values(self, action: argparse.Action, arg_strings: list[str]) -> Any:
        values = super()._get_values(action, arg_strings)
        if isinstance(action, Repeated) and arg_strings:
            before = self._given.get(action.dest, [])
            of_file = before is self._of_file.get(action.dest)
            self._given[action.dest] = [*([] if of_file else before), *arg_strings]
            return tuple(self._given[action.dest])
        if arg_strings or (action.option_strings and action.nargs == 0):
            self._given[action.dest] = [each for each in arg_strings if each != "--"]
        return values

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is None or value in action.choices:
            return
        choices = [str(choice) for choice in action.choices]
        nearest = difflib.get_close_matches(str(value), choices, n=1)
        hint = f"; did you mean {nearest[0]}?" if nearest else ""
        raise argparse.ArgumentError(
            action, f"{str(value)!r} is not one of {', '.join(choices)}{hint}"
        )

    def _take_file(self, file: str, namespace: argparse.Namespace) -> dict[str, Any]:
        """Sets what a file of flags says, as if the command line had said it first.

        Returns:
            Values of arguments without a flag, which argparse resets where the command line has
            none.
        """
        known = {_key(action): action for action in self._actions if _can_be_in_file(action)}
        positionals: dict[str, Any] = {}
        try:
            for key, value in _read_config(Path(file).expanduser()).items():
                name = key.strip().replace("_", "-").lower()
                if name not in known:
                    nearest = _nearest_flags(name, known)
                    raise UsageError(f"there is no flag {key!r}{nearest}")
                action = known[name]
                try:
                    made = self._value_of(action, value)
                except (argparse.ArgumentError, UsageError) as error:
                    message = error.message if isinstance(error, argparse.ArgumentError) else error
                    raise UsageError(f"{key}: {message}") from None
                if made is None:
                    continue
                setattr(namespace, action.dest, made)
                action.required = False
                if not action.option_strings:
                    positionals[action.dest] = made
                    if action.nargs is None:
                        action.nargs = "?"
        except UsageError as error:
            self.error(f"{_CONFIG} {file}: {error}")
        return positionals

    def _value_of(self, action: argparse.Action, value: Any) -> Any:
        """A value of the file as the command line would give it; None where nothing is set."""
        if isinstance(value, Mapping):
            raise UsageError("takes a value or a list, not a mapping")
        if value is None or value in ("", "null", "~"):
            return None
        if action.nargs == 0:
            truth = str(value).lower()
            if truth not in ("true", "false"):
                raise UsageError(f"takes true or false; got {value!r}")
            is_three = isinstance(action, argparse.BooleanOptionalAction)
            if truth == "false" and not is_three:
                return None
            self._given[action.dest] = [] if truth == "true" else ["false"]
            return truth == "true" if is_three else action.const
        words = [str(each) for each in value] if isinstance(value, list) else [str(value)]
        if len(words) != 1 and not _takes_list(action):
            raise UsageError(f"takes one value; got a list of {len(words)}")
        return self._get_values(action, words)


def _config_in(words: Sequence[str]) -> str | None:
    """The file that --config names; the last one counts."""
    found = None
    for number, word in enumerate(words):
        if word == "--":
            break
        if word == _CONFIG:
            found = words[number + 1] if number + 1 < len(words) else None
        elif word.startswith(f"{_CONFIG}="):
            found = word.partition("=")[2]
    return found


def _read_config(file: Path) -> dict[str, Any]:
    """The mapping of a YAML file, with each value as it is written there; of a run.json its flags.

    Raises:
        UsageError: it cannot be read, or is no mapping.
    """
    import yaml

    try:
        text = file.read_text()
        # Values stay text: YAML would read 2:8 as a number of base 60, and 1e3 as no number.
        content = (
            json.loads(text, parse_int=str, parse_float=str)
            if file.suffix == ".json"
            else yaml.load(text, Loader=yaml.BaseLoader)
        )
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f"cannot be read: {reason}") from None
    except (ValueError, yaml.YAMLError) as error:
        raise UsageError(f"is no YAML: {' '.join(str(error).split())}") from None
    if isinstance(content, Mapping) and isinstance(content.get(FLAGS), Mapping):
        content = content[FLAGS]
    if content in (None, ""):
        return {}
    if not isinstance(content, Mapping):
        raise UsageError("is no mapping of flags to values, such as `r: 64`")
    return {str(key): value for key, value in content.items()}


def _can_be_in_file(action: argparse.Action) -> bool:
    return action.dest not in ("help", "config") and not isinstance(
        action, argparse._SubParsersAction
    )


def _takes_list(action: argparse.Action) -> bool:
    return action.nargs in ("*", "+") or isinstance(action, Repeated)


def _key(action: argparse.Action) -> str:
    """The name of a flag in a file."""
    if action.option_strings:
        return action.option_strings[0].lstrip("-")
    return str(action.metavar or action.dest).lower().replace("_", "-")


def flags_given(
    parser: argparse.ArgumentParser, arguments: argparse.Namespace
) -> dict[str, str | bool | list[str]]:
    """What the command line and the file set, as a file of --config may say it."""
    found: dict[str, str | bool | list[str]] = {}
    for action in parser._actions:
        if _can_be_in_file(action) and action.dest in arguments.given:
            words = arguments.given[action.dest]
            if action.nargs == 0:
                found[_key(action)] = getattr(arguments, action.dest) is not False or (
                    action.const is False
                )
            else:
                found[_key(action)] = words if _takes_list(action) else words[0]
    return found


def words_given(
    parser: argparse.ArgumentParser,
    arguments: argparse.Namespace,
    *,
    left_out: Collection[str] = (),
) -> list[str]:
    """The flags that the command line and the file set, as words of a command line.

    `left_out` names attributes of `arguments` whose flags are not wanted.
    """
    words: list[str] = []
    for action in parser._actions:
        if not action.option_strings or not _can_be_in_file(action) or action.dest in left_out:
            continue
        values = arguments.given.get(action.dest)
        if values is None:
            continue
        name = action.option_strings[0]
        value = getattr(arguments, action.dest, None)
        if action.nargs == 0 and value is False and action.const is None:
            name = action.option_strings[-1]
        if isinstance(action, Repeated):
            words += [f"{name}={value}" for value in values]
        elif action.nargs != 0 and len(values) == 1 and values[0].startswith("-"):
            words.append(f"{name}={values[0]}")
        else:
            words += [name, *(values if action.nargs != 0 else [])]
    return words


def job_parser(options: type[Any], about: str | None, epilog: str = "") -> JobParser:
    """The parser of a job whose options are one dataclass."""
    made = JobParser(description=about, epilog=epilog)
    add_flags(made, options)
    return made


def run_job(
    options: type[Options],
    work: Callable[[Options], int | None],
    argv: Sequence[str] | None = None,
    *,
    about: str | None,
    epilog: str = "",
    reads_runs: bool = False,
) -> int:
    """Parses the command line of a job, does its work and returns its exit code.

    Args:
        options: dataclass of the flags.
        work: told the options; see `exit_code`.
        argv: arguments, None for those of the process.
        about: what the job does.
        epilog: last lines of its help.
        reads_runs: see `exit_code`.
    """

    def parse_and_work() -> int | None:
        arguments = job_parser(options, about, epilog).parse_args(argv)
        return work(options_of(options, arguments))

    return exit_code(parse_and_work, resumes=False, reads_runs=reads_runs)


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
