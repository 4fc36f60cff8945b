"""Rows of a list of labels that no head is trained on: counted by reason, a few by name."""

from __future__ import annotations

from dataclasses import dataclass, field

from sta.text import displayed

NOT_IN_RUN = "not in the run"
FAILED = "failed in the run"
NO_LABEL = "without a label"
AMBIGUOUS = "whose uri several videos of the run have"
NO_VIEWS = "without embeddings"

_NAMED = 3


@dataclass
class LeftOut:
    """Counts of rows that were left out.

    Attributes:
        counts: by reason.
        names: the first few by reason.
        unread: columns of the list that are not read.
    """

    counts: dict[str, int] = field(default_factory=dict)
    names: dict[str, list[str]] = field(default_factory=dict)
    unread: dict[str, None] = field(default_factory=dict)

    def add(self, reason: str, name: str) -> None:
        """Counts a row."""
        self.counts[reason] = self.counts.get(reason, 0) + 1
        if len(named := self.names.setdefault(reason, [])) < _NAMED:
            named.append(name)

    def lines(self) -> list[str]:
        """Such as `12 not in the run: a.mp4, b.mp4, c.mp4, ...`, one for each reason."""
        made = []
        for reason, count in self.counts.items():
            names = ", ".join(map(displayed, self.names[reason]))
            more = ", ..." if count > len(self.names[reason]) else ""
            made.append(f"{count:,} {reason}: {names}{more}")
        return made
