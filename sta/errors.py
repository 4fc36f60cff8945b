"""`CheckpointError`, raised by every step from a source to a model."""

from __future__ import annotations

# Names and values from a file may be of any length.
_LONGEST_MESSAGE = 2000


class CheckpointError(ValueError):
    """A checkpoint cannot be loaded; the message is one line with the reason.

    Messages quote files of strangers: characters that a terminal would follow are escaped.
    """

    def __init__(self, message: str) -> None:
        super().__init__(printable(message, _LONGEST_MESSAGE))


def printable(text: str, longest: int) -> str:
    """Text from a file as it may be shown: one line, control characters escaped, cut if longer."""
    text = text if len(text) <= longest else f"{text[:longest]}…"
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
