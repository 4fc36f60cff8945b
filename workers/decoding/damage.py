"""Counting what damage cost, and the line beyond which a video is not worth a label."""

from __future__ import annotations

from dataclasses import dataclass

from workers.decoding.endings import NOTHING_SAID, Ending
from workers.failures import ErrorType, UnitFailure


@dataclass
class Damage:
    """What a decode had to go without, in frames.

    ``cut``: named by the file's index but beyond its end. ``ending``: what the container says of
    that end. ``refused``: packets that the decoder rejected.
    ``patched``: frames that it made up from others. ``unled``: frames before the first keyframe.
    """

    cut: int = 0
    ending: Ending = NOTHING_SAID
    refused: int = 0
    patched: int = 0
    unled: int = 0

    def lost(self, frames: int) -> int:
        """Frames lost or patched up; raises UnitFailure unless more than half came through."""
        missing = self.refused + self.unled
        missing += max(self.cut, self.ending.missing(frames + missing))
        lost = missing + self.patched
        if 2 * lost >= frames + missing:
            raise UnitFailure(
                ErrorType.corrupt,
                f"{frames - self.patched or 'none'} of about {frames + missing} frames could be "
                f"decoded; more than half are needed",
            )
        return lost
