"""Ending the job from one of its threads, with a reason."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass

from pipeline.errors import RunError


@dataclass
class Stop:
    """Called with an error, ends the main thread as Ctrl-C would; the first error counts.

    Attributes:
        error: why, None if nobody asked for an end.
    """

    error: RunError | None = None

    def __call__(self, error: RunError) -> None:  # noqa: D102
        if self.error is None:
            self.error = error
            # A real signal, since the main thread waits in native code that only a signal ends.
            os.kill(os.getpid(), signal.SIGTERM)


def end_on_sigterm() -> None:
    """Makes SIGTERM, which `ray job stop` and schedulers send, end the job as Ctrl-C does."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
