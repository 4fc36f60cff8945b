"""`DecodeJob`: one unit to decode, how it is sampled, its limits, and where its frames go."""

from __future__ import annotations

from dataclasses import dataclass, field

from av.codec.hwaccel import HWAccel

from workers.decoding.frames import Allocate, FrameStore
from workers.decoding.progress import Progress
from workers.decoding.types import DECODE_MODES, DecodeLimits, Unit
from workers.io.content import Source
from workers.sampling import Protocol


@dataclass(frozen=True)
class DecodeJob:
    """What every decoder is given.

    ``source``: the open file or object of ``unit``. ``allocate``: gives the memory for the resized
    frames; see FrameStore. ``progress``: is told that packets are read and frames decoded.
    ``mode``: one of DECODE_MODES.
    """

    source: Source
    unit: Unit
    protocol: Protocol
    limits: DecodeLimits
    allocate: Allocate
    progress: Progress = field(default_factory=Progress)
    mode: str = DECODE_MODES[0]
    hwaccel: HWAccel | None = None

    def store(self, count: int, *, growing: bool = False) -> FrameStore:
        """Memory for ``count`` resized frames; ``growing`` as in FrameStore."""
        return FrameStore(
            count,
            self.protocol,
            self.allocate,
            output_bytes=self.limits.output_bytes,
            growing=growing,
        )
