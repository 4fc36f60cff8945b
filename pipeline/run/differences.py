"""Differences between two configurations, field by field, for error messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Places = tuple[str, str]

# Characters shown of a text, and of a list or mapping. A long text shows its beginning and end,
# which identify a path.
_TEXT = 240
_MANY = 70


def differences(there: Mapping[str, Any], here: Mapping[str, Any], *, places: Places) -> list[str]:
    """One entry per field that differs, such as `pruning.r: 22 in the run, 0 now`.

    Names of nested fields are joined by dots. A field that only one side has is "not set" on the
    other. If a field that both sides have differs in a nested mapping, fields of one side are only
    counted: for example, an unpruned configuration has `pruning.r` and no other field of `pruning`.

    Args:
        there: one configuration, such as the recorded one.
        here: the other configuration, such as the requested one.
        places: words for the two, such as ("in the run", "now").
    """
    found = []
    for name in sorted(there.keys() | here.keys()):
        found += _field(name, there.get(name), here.get(name), places)
    return found


def differing_fields(values: Sequence[Any]) -> list[str]:
    """For each of several values of one field, the part that differs from the others."""
    if not all(isinstance(value, Mapping) for value in values):
        return [shown(value) for value in values]
    names = sorted({name for value in values for name in value})
    differing = [
        name for name in names if any(value.get(name) != values[0].get(name) for value in values)
    ]
    return [", ".join(f"{name} {shown(value.get(name))}" for name in differing) for value in values]


def shown(value: object) -> str:
    """A value as text: a long one is shortened, and None is "not set"."""
    if value is None:
        return "not set"
    if isinstance(value, Mapping):
        return _cut(", ".join(f"{name} {shown(each)}" for name, each in value.items()))
    if isinstance(value, (list, tuple)):
        return _cut(", ".join(shown(each) for each in value))
    text = str(value)
    if len(text) <= _TEXT:
        return text
    return f"{text[: _TEXT // 2]}...{text[-_TEXT // 2 :]}"


def _cut(text: str) -> str:
    return text if len(text) <= _MANY else f"{text[:_MANY]}... ({len(text):,} characters)"


def _field(name: str, there: Any, here: Any, places: Places) -> list[str]:
    if there == here:
        return []
    if not (isinstance(there, Mapping) and isinstance(here, Mapping)):
        return [f"{name}: {shown(there)} {places[0]}, {shown(here)} {places[1]}"]
    both = [each for each in sorted(there.keys() & here.keys()) if there[each] != here[each]]
    if not both:
        names = sorted(there.keys() ^ here.keys())
        return [
            line
            for each in names
            for line in _field(f"{name}.{each}", there.get(each), here.get(each), places)
        ]
    found = [
        line for each in both for line in _field(f"{name}.{each}", there[each], here[each], places)
    ]
    for count, side in (
        (len(there.keys() - here.keys()), places[0]),
        (len(here.keys() - there.keys()), places[1]),
    ):
        if count:
            found.append(f"{count} more field{'s' * (count > 1)} of {name} only {side}")
    return found
