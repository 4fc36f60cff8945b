"""Counting what damage cost, and the line beyond which a video is not worth a label."""

from __future__ import annotations

from dataclasses import dataclass

from workers.failures import ErrorType, UnitFailure


@dataclass
class Damage:
    """What a decode had to go without, in frames.

    ``cut``: named by the file's index but beyond its end. ``share``: the part of the file that is
    missing, where no index counts the frames in it. ``refused``: packets that the decoder rejected.
    ``patched``: frames that it made up from others. ``unled``: frames before the first keyframe.
    """

    cut: int = 0
    share: float = 0.0
    refused: int = 0
    patched: int = 0
    unled: int = 0

    def lost(self, frames: int) -> int:
        """Frames lost or patched up; raises UnitFailure unless more than half came through."""
        missing = self.cut + self.refused + self.unled
        if self.share and not self.cut:
            missing += max(1, round((frames + missing) * self.share / (1 - self.share)))
        lost = missing + self.patched
        if 2 * lost >= frames + missing:
            raise UnitFailure(
                ErrorType.corrupt,
                f"{frames - self.patched or 'none'} of about {frames + missing} frames could be "
                f"decoded; more than half are needed",
            )
        return lost
