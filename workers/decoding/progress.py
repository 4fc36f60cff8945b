"""What a decoder tells its parent while it works, so that limits follow the work and hangs end."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

TELL_SECONDS = 1.0


@dataclass(frozen=True)
class Work:
    """What decoding a unit goes through, as far as it is known.

    ``size``: bytes of the file. ``frames``: to be decoded, None where only their bytes bound them;
    ``pixels``: of one frame.
    """

    size: int = 0
    frames: int | None = 0
    pixels: int = 0


class Progress:
    """Signs of life of one decoder process, at most one in TELL_SECONDS.

    ``tell`` is called with the unit's Work as far as it is known; it does nothing by default.
    """

    def __init__(self, tell: Callable[[Work], None] = lambda work: None) -> None:
        self._tell = tell
        self._work = Work()
        self._told = 0.0

    def begin(self, *, size: int) -> None:
        """A unit of a file of ``size`` bytes has begun."""
        self._now(Work(size=size))

    def expect(self, *, frames: int | None, pixels: int) -> None:
        """So many frames will be decoded, on top of those that were expected before."""
        before = self._work.frames
        total = None if frames is None or before is None else before + frames
        self._now(replace(self._work, frames=total, pixels=max(pixels, self._work.pixels)))

    def alive(self) -> None:
        """A packet was passed."""
        if time.monotonic() - self._told >= TELL_SECONDS:
            self._now(self._work)

    def _now(self, work: Work) -> None:
        self._work, self._told = work, time.monotonic()
        self._tell(work)
