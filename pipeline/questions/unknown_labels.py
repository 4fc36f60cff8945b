"""Labels of people that are no class of the model, which may be meant or misspelled."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Sequence

_NAMED = 3


def unknown_labels(
    labels: Iterable[str], classes: Sequence[str], asked: Sequence[str]
) -> str | None:
    """A line about the labels that are no class; None if all are classes.

    Labels near one that is asked for are named first: a misspelled one changes the answer.

    Args:
        labels: of each video, read without case.
        classes: names of the model's classes.
        asked: those that are asked for.
    """
    known = {name.casefold() for name in classes}
    counts = Counter(label for label in labels if label.casefold() not in known)
    if not counts:
        return None
    by_folded = {name.casefold(): name for name in asked}
    near = {label: difflib.get_close_matches(label.casefold(), by_folded, n=1) for label in counts}
    order = sorted(counts, key=lambda label: (not near[label], -counts[label], label))

    def named(label: str) -> str:
        guess = "".join(f"; did you mean {by_folded[each]!r}?" for each in near[label])
        return f"{label!r} ({counts[label]:,}{guess})"

    more = len(counts) - _NAMED
    one = counts.total() == 1
    return (
        f"{counts.total():,} label{' that people gave is' if one else 's that people gave are'} no "
        f"class of the model, and {'counts' if one else 'count'} as without the label that is "
        f"asked for: {', '.join(map(named, order[:_NAMED]))}"
        + (f", and {more:,} other{'s' * (more > 1)}" if more > 0 else "")
    )
