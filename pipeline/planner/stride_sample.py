"""An even sample of a sequence of unknown length, in bounded memory."""

from __future__ import annotations

from typing import Generic, TypeVar

_Item = TypeVar("_Item")


class StrideSample(Generic[_Item]):
    """Keeps every k-th item, and doubles k whenever more than `limit` items are kept.

    Args:
        limit: the most items to keep, 2 or more; at least half as many are kept once so many came.
    """

    def __init__(self, limit: int) -> None:
        if limit < 2:
            raise ValueError(f"the limit of a sample must be 2 or more; got {limit}")
        self._limit = limit
        self._every = 1
        self.seen = 0
        self.kept: list[_Item] = []

    def add(self, item: _Item) -> None:
        """The next item of the sequence."""
        if self.seen % self._every == 0:
            if len(self.kept) == self._limit:
                self.kept = self.kept[::2]
                self._every *= 2
            if self.seen % self._every == 0:
                self.kept.append(item)
        self.seen += 1
