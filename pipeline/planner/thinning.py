"""An even sample of a sequence whose length is not known, held in bounded memory."""

from __future__ import annotations

from typing import Generic, TypeVar

_Item = TypeVar("_Item")


class Thinned(Generic[_Item]):
    """Keeps every k-th item of all that came, with k doubled whenever that is too many.

    Args:
        most: how many items are kept at the most; at least half as many are once so many came.
    """

    def __init__(self, most: int) -> None:
        if most < 2:
            raise ValueError(f"a sample holds 2 items or more; got {most}")
        self._most = most
        self._every = 1
        self.seen = 0
        self.kept: list[_Item] = []

    def add(self, item: _Item) -> None:
        """The next item of the sequence."""
        if self.seen % self._every == 0:
            if len(self.kept) == self._most:
                self.kept = self.kept[::2]
                self._every *= 2
            if self.seen % self._every == 0:
                self.kept.append(item)
        self.seen += 1
