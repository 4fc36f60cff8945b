"""The questions that an archive is asked, and their grammar.

    share of LABEL[, LABEL ...]            of the videos; with --clip-every of the time
    count of LABEL[, LABEL ...]            of the videos; with --clip-every of the clips
    rate of LABEL[, LABEL ...] per hour    videos or clips with the label per hour of video
    mean of COLUMN for LABEL[, LABEL ...]  of a column of the list, over the videos with the label
    videos with LABEL                      a set that holds nearly all of them

A label with a comma stands in double quotes. Words of the grammar are read without case.
"""

from __future__ import annotations

import csv
import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pipeline.errors import UsageError

Kind = Literal["share", "count", "rate", "mean", "videos"]

FORMS: dict[Kind, str] = {
    "share": "share of LABEL[, LABEL ...]",
    "count": "count of LABEL[, LABEL ...]",
    "rate": "rate of LABEL[, LABEL ...] per hour",
    "mean": "mean of COLUMN for LABEL[, LABEL ...]",
    "videos": "videos with LABEL",
}

_PATTERNS: dict[Kind, str] = {
    "share": r"share\s+of\s+(?P<labels>.+)",
    "count": r"count\s+of\s+(?P<labels>.+)",
    "rate": r"rate\s+of\s+(?P<labels>.+?)\s+per\s+hour",
    "mean": r"mean\s+of\s+(?P<column>\S+|\"[^\"]+\")\s+for\s+(?P<labels>.+)",
    "videos": r"videos\s+with\s+(?P<labels>.+)",
}
_MOST_LABELS = 100
_ALSO_WITH_TRUTH = (
    "; also with --truth a question asks for classes of --checkpoint, which names them"
)


@dataclass(frozen=True)
class Question:
    """What is asked.

    Attributes:
        kind: which of FORMS.
        labels: names of classes, each once.
        column: of "mean", the column of the list; None otherwise.
    """

    kind: Kind
    labels: tuple[str, ...]
    column: str | None = None

    def __post_init__(self) -> None:
        if self.kind not in FORMS:
            raise ValueError(f"kind must be one of {', '.join(FORMS)}; got {self.kind!r}")
        if not self.labels or not all(self.labels):
            raise UsageError("the question names no label")
        if len(set(self.labels)) < len(self.labels):
            raise UsageError("the question names a label twice")
        if len(self.labels) > _MOST_LABELS:
            raise UsageError(
                f"a question has at most {_MOST_LABELS} labels; got {len(self.labels):,}"
            )
        if self.kind == "videos" and len(self.labels) > 1:
            raise UsageError("videos with LABEL asks for one label; ask once for each")
        if (self.column is not None) != (self.kind == "mean"):
            raise ValueError("a column belongs to questions for a mean")

    @classmethod
    def parse(cls, text: str) -> Question:
        """The question that a text asks.

        Raises:
            UsageError: it is none; the message lists the forms.
        """
        words = " ".join(text.split())
        for kind, pattern in _PATTERNS.items():
            match = re.fullmatch(pattern, words, re.IGNORECASE)
            if match is not None:
                column = match.groupdict().get("column")
                return cls(kind, _labels(match["labels"]), column and column.strip('"'))
        forms = "; ".join(FORMS.values())
        raise UsageError(f"{text!r} is no question; the forms are: {forms}")

    @property
    def text(self) -> str:
        """The question as `parse` reads it."""
        labels = ", ".join(f'"{each}"' if "," in each else each for each in self.labels)
        form = FORMS[self.kind].replace("LABEL[, LABEL ...]", labels).replace("LABEL", labels)
        return form.replace("COLUMN", self.column or "")

    def among(self, classes: Sequence[str], *, has_truth: bool = False) -> tuple[int, ...]:
        """Numbers of the labels in the model's classes.

        Args:
            classes: names of the model's classes.
            has_truth: whether people give the labels, for the message.

        Raises:
            UsageError: one is no class; the message names the nearest ones.
        """
        exact = {name: number for number, name in enumerate(classes)}
        folded = {name.casefold(): number for name, number in reversed(exact.items())}
        numbers = []
        for label in self.labels:
            number = exact.get(label, folded.get(label.casefold()))
            if number is None:
                near = difflib.get_close_matches(label.casefold(), folded, n=3, cutoff=0.5)
                meant = [classes[folded[each]] for each in near] or list(classes[:3])
                raise UsageError(
                    f"{label!r} is no class of the model, which has {len(classes):,}, such as "
                    f"{', '.join(meant)}{_ALSO_WITH_TRUTH if has_truth else ''}"
                )
            numbers.append(number)
        if len(set(numbers)) < len(numbers):
            raise UsageError("the question names a label twice")
        return tuple(numbers)


def _labels(text: str) -> tuple[str, ...]:
    (cells,) = csv.reader([text], skipinitialspace=True)
    return tuple(cell.strip() for cell in cells)
