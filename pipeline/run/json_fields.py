"""Dataclasses as JSON objects: writing without defaults, reading with checks of every field."""

from __future__ import annotations

import dataclasses
import datetime
import types
from collections.abc import Mapping
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints


def without_defaults(value: Any) -> dict[str, Any]:
    """The JSON object of a dataclass, without the fields that hold their default."""
    return {
        each.name: _written(getattr(value, each.name))
        for each in dataclasses.fields(value)
        if getattr(value, each.name) != _default(each)
    }


def _default(each: dataclasses.Field[Any]) -> Any:
    if each.default_factory is not dataclasses.MISSING:
        return each.default_factory()
    return each.default


def _written(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return {
            each.name: _written(getattr(value, each.name)) for each in dataclasses.fields(value)
        }
    if isinstance(value, datetime.datetime):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {name: _written(each) for name, each in value.items()}
    return [_written(each) for each in value] if isinstance(value, (list, tuple)) else value


def read(kind: Any, value: Any, name: str) -> Any:
    """Converts a JSON value to a type, as far as dataclasses are made of other fields.

    Args:
        kind: a dataclass, datetime, tuple, Literal, union with None, or a type of JSON.
        value: what JSON holds.
        name: its path in the document, joined by dots.

    Raises:
        ValueError: a field is unknown, missing or of another type; the message names it.
    """
    origin, parts = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        if value is None and type(None) in parts:
            return None
        return read(next(part for part in parts if part is not type(None)), value, name)
    if origin is tuple:
        _check(list, value, name)
        return tuple(read(parts[0], each, f"{name}[{n}]") for n, each in enumerate(value))
    if dataclasses.is_dataclass(kind):
        return _read_fields(kind, value, name)
    if kind is datetime.datetime:
        return _read_time(value, name)
    if origin is Literal:
        if value not in parts:
            raise ValueError(f"{name} is {value!r}; it must be one of {', '.join(parts)}")
    elif kind is not Any:
        _check(origin or kind, value, name)
    return value


def _read_fields(kind: Any, content: Any, name: str) -> Any:
    _check(dict, content, name)
    fields, hints = dataclasses.fields(kind), get_type_hints(kind)
    prefix = f"{name}." if name else ""
    unknown = sorted(content.keys() - hints.keys())
    if unknown:
        known = ", ".join(each.name for each in fields)
        raise ValueError(f"{prefix}{unknown[0]} is unknown; known are {known}")
    for each in fields:
        if each.name not in content and _default(each) is dataclasses.MISSING:
            raise ValueError(f"{prefix}{each.name} is missing")
    return kind(**{key: read(hints[key], value, prefix + key) for key, value in content.items()})


def _read_time(value: Any, name: str) -> datetime.datetime:
    _check(str, value, name)
    time = datetime.datetime.fromisoformat(value)
    return time if time.tzinfo else time.replace(tzinfo=datetime.UTC)


def _check(kind: type, value: Any, name: str) -> None:
    allowed = (int, float) if kind is float else kind
    if not isinstance(value, allowed) or (isinstance(value, bool) and kind is not bool):
        raise ValueError(
            f"{name or 'the content'} is {value!r:.60}; it must be of type {kind.__name__}"
        )
