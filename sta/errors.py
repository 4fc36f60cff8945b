"""`CheckpointError`, raised by every step from a source to a model."""

from __future__ import annotations


class CheckpointError(ValueError):
    """A checkpoint cannot be loaded; the message is one line with the reason."""
