"""The error that every step from a source to a model raises."""

from __future__ import annotations


class CheckpointError(ValueError):
    """A checkpoint that cannot be loaded; the message says why in one line."""
