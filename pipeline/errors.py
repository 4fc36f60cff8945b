"""The two ways in which a command ends other than well."""

from __future__ import annotations


class UsageError(ValueError):
    """The command was wrong; said in one line before any work (exit code 2)."""


class RunError(RuntimeError):
    """The run could not finish (exit code 1).

    Attributes:
        advice: what to do now; by default running the same command again, which resumes.
    """

    def __init__(
        self, message: str, *, advice: str = "Run the same command again to resume."
    ) -> None:
        super().__init__(message)
        self.advice = advice
