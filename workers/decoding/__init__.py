"""Video files to frames, in a child process that may crash, hang or leak without harm."""

from workers.decoding.sandbox import SandboxedDecoder
from workers.decoding.types import DECODERS, DecodedUnit, DecodeLimits, Measured, Unit

__all__ = ["DECODERS", "DecodeLimits", "DecodedUnit", "Measured", "SandboxedDecoder", "Unit"]
