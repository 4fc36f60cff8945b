"""Failures of units: the values of the column ``error_type``, and which of them are retried."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from sta.text import displayed


class ErrorType(StrEnum):
    """The values of the column ``error_type``.

    ``deferred`` is the only one that a finished run does not have: the unit took longer than a
    first, short attempt may, and is tried again at the end of the run.
    """

    not_found = "not_found"
    forbidden = "forbidden"
    unavailable = "unavailable"
    changed = "changed"
    empty = "empty"
    not_video = "not_video"
    no_video_stream = "no_video_stream"
    corrupt = "corrupt"
    too_short = "too_short"
    too_large = "too_large"
    unsupported_codec = "unsupported_codec"
    deferred = "deferred"
    timeout = "timeout"
    crashed = "crashed"
    out_of_memory = "out_of_memory"
    internal = "internal"

    @property
    def retryable(self) -> bool:
        """Whether another attempt may succeed with the same file and limits.

        This includes a missing file, which may have appeared since.
        """
        return self in _RETRYABLE


_RETRYABLE = frozenset(
    {
        ErrorType.not_found,
        ErrorType.forbidden,
        ErrorType.unavailable,
        ErrorType.changed,
        ErrorType.timeout,
        ErrorType.crashed,
        ErrorType.internal,
    }
)


class UnitFailure(Exception):  # noqa: N818 - a result, returned more often than raised
    """Why a unit could not be decoded: it becomes a row of the output, not an error of the job.

    ``message`` is one line for the user. ``attempts``: decoders that tried. ``bytes_read`` and
    ``decode_ms`` (CPU milliseconds): the cost of the failure.
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
    """``text`` as one line of at most ``limit`` characters, without control characters and keys."""
    return displayed(" ".join(text.split()), longest=limit)
