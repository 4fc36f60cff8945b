"""`CheckpointError`, raised by every step from a source to a model."""

from __future__ import annotations

from sta.text import displayed

# Names and values from a file may be of any length.
_LONGEST_MESSAGE = 2000


class CheckpointError(ValueError):
    """A checkpoint cannot be loaded; the message is one line with the reason.

    Messages quote files of strangers, whose control characters are escaped and keys masked.
    """

    def __init__(self, message: str) -> None:
        super().__init__(displayed(message, longest=_LONGEST_MESSAGE))
