"""Why a unit got no labels: a closed list, so that failures can be counted, filtered and retried."""

from __future__ import annotations

from enum import StrEnum
from typing import Any


class ErrorType(StrEnum):
    """The kinds of failure, as they stand in the column ``error_type``."""

    explanation: str
    retryable: bool

    def __new__(cls, value: str, explanation: str, retryable: bool) -> ErrorType:
        member = str.__new__(cls, value)
        member._value_ = value
        member.explanation = explanation
        member.retryable = retryable
        return member

    not_found = "not_found", "there is no such file or object", False
    forbidden = "forbidden", "the storage refused access", True
    unavailable = "unavailable", "the storage did not answer, or not completely", True
    changed = "changed", "the object was replaced while it was being read", True
    empty = "empty", "the file has no bytes", False
    not_video = "not_video", "the file is something else than a video", False
    no_video_stream = "no_video_stream", "the file has no moving picture, only sound or a cover", False
    corrupt = "corrupt", "the file is too damaged to be labelled", False
    too_short = "too_short", "the stretch asked for holds no frame", False
    too_large = "too_large", "the picture or the file is larger than the limits allow", False
    unsupported_codec = "unsupported_codec", "the picture is encrypted or its codec is unknown", False
    timeout = "timeout", "fetching and decoding took longer than the limit", True
    crashed = "crashed", "the decoder's process died", True
    out_of_memory = "out_of_memory", "decoding needed more memory than the limit", False
    internal = "internal", "an error of this program or of its installation", True


class UnitFailure(Exception):
    """A unit that could not be decoded, and why: a row of the output, not an error of the job.

    ``message`` is one line for people. ``attempts`` counts the decoders that tried; ``bytes_read``
    and ``decode_ms`` (CPU milliseconds) are what the failure cost.
    """

    def __init__(
        self,
        error_type: ErrorType,
        message: str,
        *,
        attempts: int = 1,
        bytes_read: int = 0,
        decode_ms: float = 0.0,
    ) -> None:
        self.error_type = ErrorType(error_type)
        self.message = one_line(message)
        self.attempts = attempts
        self.bytes_read = bytes_read
        self.decode_ms = decode_ms
        super().__init__(f"{self.error_type}: {self.message}")

    def __reduce__(self) -> tuple[Any, ...]:
        costs = {
            "attempts": self.attempts,
            "bytes_read": self.bytes_read,
            "decode_ms": self.decode_ms,
        }
        return UnitFailure, (self.error_type, self.message), costs


def one_line(text: str, *, limit: int = 300) -> str:
    """``text`` as one printable line of at most ``limit`` characters."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"
