"""Stops the job from one of its threads, with a reason."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass

from pipeline.errors import RunError


@dataclass
class Stop:
    """Called with an error, interrupts the main thread as Ctrl-C does; the first error is kept.

    Attributes:
        error: the reason; None if the job was not stopped.
    """

    error: RunError | None = None

    def __call__(self, error: RunError) -> None:  # noqa: D102
        if self.error is None:
            self.error = error
            # A real signal: the main thread waits in native code that only a signal interrupts.
            os.kill(os.getpid(), signal.SIGTERM)


def end_on_sigterm() -> None:
    """Makes SIGTERM, which `ray job stop` and schedulers send, end the job as Ctrl-C does."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
