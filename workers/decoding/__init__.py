"""Decodes videos to frames in a child process, isolated from crashes, hangs and leaks."""

from workers.decoding.sandbox import SandboxedDecoder
from workers.decoding.types import DECODERS, DecodedUnit, DecodeLimits, Measured, Unit

__all__ = ["DECODERS", "DecodeLimits", "DecodedUnit", "Measured", "SandboxedDecoder", "Unit"]
