"""How a command ends: an exit code, and one line on stderr for each way of ending badly."""

from __future__ import annotations

from collections.abc import Callable

from pipeline.errors import RunError, UsageError
from pipeline.messages import say


def exit_code(work: Callable[[], None], *, resumes: bool = True) -> int:
    """Does a command's work and returns its exit code.

    Args:
        work: parses nothing and prints its own result. Errors of files after the work has begun
            must reach here as RunError (`run_failure.after_work`).
        resumes: whether the same command goes on where this one stopped, which is said then.

    Returns:
        0, the work is done; 1, it could not be finished; 2, the command was wrong.
    """
    try:
        work()
    except RunError as error:
        say(f"error: {error}\n{error.advice if resumes else ''}".rstrip())
        return 1
    except KeyboardInterrupt:
        say("\nStopped. Run the same command again to resume." if resumes else "\nStopped.")
        return 1
    except (UsageError, ValueError, OSError) as error:
        say(f"error: {' '.join(str(error).split())}")
        return 2
    return 0
