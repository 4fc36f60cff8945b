"""Finds ids that occur twice, in one pass and with 8 bytes of memory per id."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt


class Twin(NamedTuple):
    """An id that occurs twice, and the positions of both, counted from 0."""

    video_id: str
    first: int
    second: int


class Twins:
    """Collects ids and finds the first one that was added before."""

    def __init__(self) -> None:
        self._seen = array("Q")

    def __len__(self) -> int:
        return len(self._seen)

    def add(self, video_id: str) -> None:
        """Adds an id."""
        self._seen.append(_digest(video_id))

    def first(self, again: Iterable[str]) -> Twin | None:
        """The first id that occurs twice; None if all differ.

        Different ids may have equal digests, so the ids themselves are compared.

        Args:
            again: the same ids in the same order; read only if two digests are equal.
        """
        digests: npt.NDArray[np.uint64] = np.array(self._seen, dtype=np.uint64)
        digests.sort()
        suspects = set(digests[1:][digests[1:] == digests[:-1]].tolist())
        if not suspects:
            return None
        found: dict[str, int] = {}
        for number, video_id in enumerate(again):
            if _digest(video_id) in suspects:
                if video_id in found:
                    return Twin(video_id, found[video_id], number)
                found[video_id] = number
        return None


def _digest(video_id: str) -> int:
    return int.from_bytes(hashlib.blake2b(video_id.encode(), digest_size=8).digest(), "little")
