"""Decodes videos to frames in a child process, isolated from crashes, hangs and leaks."""

from workers.decoding.sandbox import SandboxedDecoder
from workers.decoding.types import DECODE_MODES, DECODERS, DecodedUnit, DecodeLimits, Measured, Unit

__all__ = [
    "DECODERS",
    "DECODE_MODES",
    "DecodeLimits",
    "DecodedUnit",
    "Measured",
    "SandboxedDecoder",
    "Unit",
]
