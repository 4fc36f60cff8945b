"""Progress messages of a decoder to its parent, by which time limits follow the work."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

TELL_SECONDS = 1.0


@dataclass(frozen=True)
class DecodeWork:
    """How much work a unit is, as far as it is known.

    ``size``: bytes of the file. ``frames``: frames to decode, None where their number is not known.
    ``pixels``: pixels of a frame.
    """

    size: int = 0
    frames: int | None = 0
    pixels: int = 0


class Progress:
    """Sends the progress of one decoder process, at most once in TELL_SECONDS.

    ``tell`` is called with the unit's DecodeWork as far as it is known, ``reserve`` with the bytes
    of memory that it needs; both do nothing by default.
    """

    def __init__(
        self,
        tell: Callable[[DecodeWork], None] = lambda work: None,
        reserve: Callable[[int], None] = lambda count: None,
    ) -> None:
        self._tell = tell
        self.reserve = reserve
        self._work = DecodeWork()
        self._told = 0.0

    @property
    def work(self) -> DecodeWork:
        """What is known of the unit."""
        return self._work

    def begin(self, *, size: int) -> None:
        """Begins a unit whose file has ``size`` bytes."""
        self._now(DecodeWork(size=size))

    def expect(self, *, frames: int | None, pixels: int) -> None:
        """Adds ``frames`` to the frames that will be decoded."""
        before = self._work.frames
        total = None if frames is None or before is None else before + frames
        self._now(replace(self._work, frames=total, pixels=max(pixels, self._work.pixels)))

    def alive(self) -> None:
        """Says that a packet was read."""
        if time.monotonic() - self._told >= TELL_SECONDS:
            self._now(self._work)

    def _now(self, work: DecodeWork) -> None:
        self._work, self._told = work, time.monotonic()
        self._tell(work)
