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


class OutputLostError(RunError):
    """OUTPUT is gone, or is not the folder that the run began with; nothing was written there."""

    def __init__(self, message: str) -> None:
        super().__init__(
            message,
            advice="Nothing was written there since. Put the folder back and run the same command "
            "again to resume; without it the same command begins anew.",
        )
