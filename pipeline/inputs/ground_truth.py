"""Matches ground-truth labels of an input with the model's classes, by name or id."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

_NUMBER = re.compile(r"(-?\d{1,18})(\.0*)?")
_IGNORED = re.compile(r"[\s_\[\]]+")
_EXAMPLES = 3


class ClassNames:
    """Finds the class that a label means.

    A label matches a class name exactly, or else without regard to case, blanks, underscores and
    square brackets if that fits a single class. An integer (3, "3", 3.0) is a class id, counted
    from 0. If class names are numbers themselves, a number is a name and not an id, unless names
    and ids are the same.

    Args:
        names: the classes in the order of the model's scores.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = tuple(names)
        self._exact = frozenset(names)
        self._by_folded: dict[str, set[str]] = {}
        for name in names:
            self._by_folded.setdefault(_folded(name), set()).add(name)
        self.has_ids = list(names) == [str(place) for place in range(len(names))] or not any(
            map(_NUMBER.fullmatch, names)
        )

    def __len__(self) -> int:
        return len(self._names)

    def number(self, label: str) -> int | None:
        """The class id that a label is, perhaps beyond the model's; None if it is not an id."""
        return _whole(label) if self.has_ids else None

    def find(self, label: str) -> str | None:
        """The name of the class that a label means; None if there is none."""
        number = self.number(label)
        if number is not None:
            return self._names[number] if 0 <= number < len(self._names) else None
        if label in self._exact:
            return label
        if (whole := _whole(label)) is not None:
            return str(whole) if str(whole) in self._exact else None
        found = self._by_folded.get(_folded(label), set())
        return next(iter(found)) if len(found) == 1 else None


def _whole(label: str) -> int | None:
    found = _NUMBER.fullmatch(label)
    return int(found[1]) if found else None


def _folded(name: str) -> str:
    return _IGNORED.sub("", name).casefold()


class GroundTruth:
    """Ground truth of an input: counted in one pass, then matched with the classes.

    An id beyond the model's shows that the input numbers classes differently (from 1, or as another
    data set does). Then smaller ids are not reliable either, and no number is matched.

    Args:
        classes: names of the model's classes, in the order of its scores.

    Attributes:
        given: labels that were added.
    """

    def __init__(self, classes: Sequence[str]) -> None:
        self._classes = ClassNames(classes)
        self.given = 0
        self._named = self._numbered = 0
        self._largest = -1
        self._strangers: dict[str, None] = {}
        self._numbers: dict[str, None] = {}

    def add(self, label: str | None) -> None:
        """Counts the label of one video; None for a video without a label."""
        if label is None:
            return
        self.given += 1
        number = self._classes.number(label)
        if number is not None:
            self._largest = max(self._largest, number)
        if self._classes.find(label) is None:
            _note(self._strangers, label)
        elif number is None:
            self._named += 1
        else:
            self._numbered += 1
            _note(self._numbers, label)

    @property
    def has_other_ids(self) -> bool:
        """Whether an id among the labels is beyond the model's."""
        return self._largest >= len(self._classes)

    @property
    def known(self) -> int:
        """Number of labels that match a class of the model."""
        return self._named + (0 if self.has_other_ids else self._numbered)

    def named(self, label: str | None) -> str | None:
        """The name of the class that a label means; the label itself if there is none."""
        if label is None or (self.has_other_ids and self._classes.number(label) is not None):
            return label
        found = self._classes.find(label)
        return label if found is None else found

    def problem(self) -> str | None:
        """A message about labels that match no class; None if all match."""
        unknown = self.given - self.known
        if not unknown:
            return None
        examples = [*self._strangers, *(self._numbers if self.has_other_ids else ())][:_EXAMPLES]
        said = not_among(unknown, self.given, examples)
        if self.has_other_ids:
            said += (
                f"; the ids go up to {self._largest} and the model's from 0 to "
                f"{len(self._classes) - 1}, so numbers are not used as class ids"
            )
        return said


def not_among(unknown: int, given: int, examples: Iterable[str]) -> str:
    """A message about labels that match no class of the model."""
    such_as = ", ".join(map(repr, examples))
    if unknown == given:
        return f"none of the {given:,} labels is one of the model's classes, such as {such_as}"
    return f"{unknown:,} of {given:,} labels are not among the model's classes, such as {such_as}"


def _note(examples: dict[str, None], label: str) -> None:
    if len(examples) < _EXAMPLES:
        examples.setdefault(label)
