"""The two ways in which a command ends other than well."""

from __future__ import annotations


class UsageError(ValueError):
    """The command was wrong; said in one line before any work (exit code 2)."""


class RunError(RuntimeError):
    """The run could not finish; running the same command again resumes it (exit code 1)."""
