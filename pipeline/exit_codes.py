"""Exit codes of the jobs, and the signals that end them.

A mistake is one line on stderr. Exit code 2: the command was wrong; 1: the work could not be
finished.
"""

from __future__ import annotations

import contextlib
import importlib
import signal
import sys
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from pipeline.errors import RunError, UsageError
from pipeline.messages import say


def exit_code(
    work: Callable[[], int | None], *, resumes: bool = True, reads_runs: bool = False
) -> int:
    """Does a command's work and returns its exit code.

    SIGTERM and SIGINT end the work as Ctrl-C does.

    Args:
        work: parses and prints what it has to; what it returns is the exit code, None for 0.
            Errors of files after the work has begun must reach here as RunError
            (`run_failure.after_work`).
        resumes: whether the same command goes on where this one stopped, which is said then.
        reads_runs: whether the work reads tables of finished runs; a file that cannot be read is
            no mistake in the command then.

    Returns:
        0, the work is done; 1, it could not be finished; 2, the command was wrong.
    """
    with _signals_end_work():
        try:
            return work() or 0
        except RunError as error:
            said = " ".join(str(error).split())
            say(f"error: {said}\n{error.advice if resumes else ''}".rstrip())
            return 1
        except KeyboardInterrupt:
            return _stopped(resumes)
        except UsageError as error:
            return _wrong(error, 2)
        except Exception as error:
            if _was_interrupted(error):
                return _stopped(resumes)
            if reads_runs and (isinstance(error, OSError) or _is_of_arrow(error)):
                return _wrong(error, 1)
            if isinstance(error, ValueError | OSError):
                return _wrong(error, 2)
            raise


def main_of(module: str, *arguments: Any) -> int:
    """Imports a job's module and runs its `main`; Ctrl-C during the import is a stop too."""
    return exit_code(lambda: importlib.import_module(module).main(*arguments), resumes=False)


def leave(code: int) -> NoReturn:
    """Ends the process; signals that come while libraries shut down change nothing any more."""
    with contextlib.suppress(ValueError):  # not in the main thread
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, signal.SIG_IGN)
    sys.exit(code)


@contextlib.contextmanager
def _signals_end_work() -> Iterator[None]:
    """Makes SIGTERM end the block as SIGINT does. A SIGINT that the shell had ignored stays
    without effect, by a handler that can be called: Ray calls the one that it finds.
    """
    before = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)}
    try:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        if before[signal.SIGINT] == signal.SIG_IGN:
            signal.signal(signal.SIGINT, _ignored)
    except ValueError:  # not in the main thread
        before = {}
    try:
        yield
    finally:
        for each, handler in before.items():
            if handler is not None:
                signal.signal(each, handler)


def _ignored(number: int, frame: object) -> None:
    """Does nothing."""


def _stopped(resumes: bool) -> int:
    say("\nStopped. Run the same command again to resume." if resumes else "\nStopped.")
    return 1


def _wrong(error: Exception, code: int) -> int:
    say(f"error: {' '.join(str(error).split())}")
    return code


def _was_interrupted(error: BaseException | None) -> bool:
    """Whether an error came of Ctrl-C, as that of an import that was cut short."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


def _is_of_arrow(error: Exception) -> bool:
    """Whether Arrow raised it; without importing Arrow, which takes a second."""
    return any(each.__module__.startswith("pyarrow") for each in type(error).__mro__)
