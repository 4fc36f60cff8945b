"""Flags declared in dataclasses.

The options of a job are a dataclass. `argument` and `flag` declare a field together with what the
command line needs to know of it; `add_flags` adds such fields to a parser, and `options_of` makes
the dataclass from what was parsed. A default, a type and a help text stand there and nowhere else.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import types
import typing
from collections.abc import Callable, Collection
from dataclasses import MISSING, dataclass
from typing import Any, Literal, TypeVar

Options = TypeVar("Options")

# Of run.json: the flags that the run was given.
FLAGS = "flags"


@dataclass(frozen=True)
class _Declared:
    """What the command line needs to know of a field besides its name, type and default.

    Attributes:
        about: help text.
        name: of the flag without dashes; None for the field's name.
        type: from text to value; None for the annotation.
        metavar: the value's name in the help text.
        choices: allowed values; None for those of a Literal, else for all.
        group: heading in the help text.
        required: whether the command line must have it.
        positional: whether it is an argument without a flag.
        repeated: whether the flag may be given several times, for a tuple of texts.
        short: a letter that stands for the flag after a single dash; None for none.
    """

    about: str
    name: str | None = None
    type: Callable[[str], Any] | None = None
    metavar: str | None = None
    choices: Collection[str] | None = None
    group: str | None = None
    required: bool = False
    positional: bool = False
    repeated: bool = False
    short: str | None = None


class Repeated(argparse.Action):
    """A flag that may be given several times; its value is the tuple of what was given."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Sets the tuple, which `JobParser` collects."""
        setattr(namespace, self.dest, values)


def flag(about: str, default: Any = MISSING, **declared: Any) -> Any:
    """A field that a flag sets; without a default the flag is required unless `required=False`.

    Args:
        about: help text; the default is appended where there is one.
        default: of the field.
        declared: name, type, metavar, choices, group, required, repeated, short of the flag. The
            name of a flag that switches something off begins with "no-".
    """
    declared.setdefault("required", default is MISSING)
    return dataclasses.field(default=default, metadata={FLAGS: _Declared(about, **declared)})


def argument(about: str, default: Any = MISSING, *, metavar: str) -> Any:
    """A field that an argument without a flag sets; without a default it is required."""
    return flag(about, default, metavar=metavar, positional=True)


def add_flags(
    parser: argparse.ArgumentParser, options: type[Any], only: Collection[str] | None = None
) -> None:
    """Adds the declared fields of a dataclass to a parser, each under its heading.

    Args:
        parser: of a job.
        options: the dataclass.
        only: names of fields; None for all.
    """
    names = vars(sys.modules[options.__module__])
    groups = {group.title: group for group in parser._action_groups}
    for field in dataclasses.fields(options):
        declared: _Declared | None = field.metadata.get(FLAGS)
        if declared is None or (only is not None and field.name not in only):
            continue
        place: Any = parser
        if declared.group is not None:
            if declared.group not in groups:
                groups[declared.group] = parser.add_argument_group(declared.group)
            place = groups[declared.group]
        default = None if field.default is MISSING else field.default
        # Only this annotation: others may name what is imported for type checkers alone.
        hint = eval(field.type, names) if isinstance(field.type, str) else field.type
        settings = _settings(declared, hint, default)
        if declared.positional:
            place.add_argument(field.name, **settings)
        else:
            name = declared.name or field.name.replace("_", "-")
            short = () if declared.short is None else (f"-{declared.short}",)
            place.add_argument(f"--{name}", *short, dest=field.name, **settings)


def _settings(declared: _Declared, hint: Any, default: Any) -> dict[str, Any]:
    """What argparse is told of a field."""
    about = declared.about
    if not (
        default is None or isinstance(default, bool) or default in ((), "") or "default: " in about
    ):
        shown = " ".join(map(str, default)) if isinstance(default, tuple) else default
        about += f" (default: {shown:g})" if isinstance(shown, float) else f" (default: {shown})"
    settings: dict[str, Any] = {"help": about.replace("%", "%%"), "default": default}
    kinds = [each for each in typing.get_args(hint) if each is not type(None)]
    is_union = isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union
    kind = kinds[0] if is_union and len(kinds) == 1 else hint
    if declared.type is None and kind in (bool, Literal[False]):
        switched_off = (declared.name or "").startswith("no-")
        three = is_union and kind is bool
        action = "store_false" if switched_off else "store_true"
        return settings | {"action": argparse.BooleanOptionalAction if three else action}
    choices = declared.choices
    if declared.repeated:
        return settings | {"action": Repeated, "metavar": declared.metavar}
    if declared.type is None and typing.get_origin(kind) is tuple:
        of = typing.get_args(kind)
        kind = of[0]
        settings["nargs"] = "*" if default == () or declared.positional else "+"
        if of[-1] is not Ellipsis:
            settings["nargs"] = len(of)
    if typing.get_origin(kind) is Literal:
        choices, kind = choices or typing.get_args(kind), str
    settings["type"] = _checked(declared.type) if declared.type is not None else kind
    if choices is not None:
        settings["choices"] = tuple(choices)
    if declared.metavar is not None:
        settings["metavar"] = declared.metavar
    if declared.positional and not declared.required and "nargs" not in settings:
        settings["nargs"] = "?"
    if declared.required and not declared.positional:
        settings["required"] = True
    return settings


def options_of(options: type[Options], arguments: argparse.Namespace, **more: Any) -> Options:
    """The dataclass made from what was parsed; `more` gives and replaces fields.

    Raises:
        UsageError, ValueError: the dataclass refuses a value.
    """
    values = {
        field.name: tuple(value) if isinstance(value, list) else value
        for field in dataclasses.fields(options)  # type: ignore[arg-type]
        if FLAGS in field.metadata
        and (value := getattr(arguments, field.name, MISSING)) is not MISSING
    }
    return options(**values | more)


def share(text: str) -> float:
    """0.01 of `1%` or `0.01`.

    Raises:
        ValueError: it is neither, or could be both.
    """
    number = text.strip()
    if number in ("1", "1."):
        raise ValueError("1 may be meant as 1% or as 100%; write one of them")
    try:
        return float(number[:-1]) / 100 if number.endswith("%") else float(number)
    except ValueError:
        raise ValueError(f"a share is written 1% or 0.01; got {text!r}") from None


def _checked(convert: Callable[[str], Any]) -> Callable[[str], Any]:
    """A type for argparse that keeps the message of what is wrong."""

    def converted(text: str) -> Any:
        try:
            return convert(text)
        except (ValueError, OSError) as error:
            raise argparse.ArgumentTypeError(" ".join(str(error).split())) from None

    return converted
