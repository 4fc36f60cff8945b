"""Counts of frames lost to damage, and the limit beyond which a video fails."""

from __future__ import annotations

from dataclasses import dataclass

from workers.decoding.endings import NOTHING_SAID, Ending
from workers.failures import ErrorType, UnitFailure


@dataclass
class Damage:
    """Frames that a decode lost, by cause.

    ``cut``: named by the file's index but beyond its end. ``ending``: what the container says of
    that end. ``refused``: packets that the decoder rejected. ``patched``: frames that the decoder
    concealed with others. ``undecodable``: frames before the first keyframe.
    """

    cut: int = 0
    ending: Ending = NOTHING_SAID
    refused: int = 0
    patched: int = 0
    undecodable: int = 0

    def lost(self, frames: int) -> int:
        """Frames lost or concealed; raises UnitFailure unless more than half were decoded well."""
        missing = self.refused + self.undecodable
        missing += max(self.cut, self.ending.missing(frames + missing))
        lost = missing + self.patched
        if 2 * lost >= frames + missing:
            raise UnitFailure(
                ErrorType.corrupt,
                f"{frames - self.patched or 'none'} of about {frames + missing} frames could be "
                f"decoded; more than half must be",
            )
        return lost
