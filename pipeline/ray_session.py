"""Joining or starting Ray, and keeping the screen for what the user needs to see."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
import ray.data
from ray.data._internal.logging import get_log_directory

from pipeline.errors import RunError, UsageError
from pipeline.numerals import byte_size
from pipeline.resources import OVERHEAD_CPUS
from pipeline.stopping import end_on_sigterm

# What is not shown of Ray's messages: what it says of every graph with actors on a machine of two
# cores, where it cannot be helped, and tracebacks of workers, which its log files hold.
_UNSHOWN = ("PYTHON worker processes have been started", "Traceback (most recent call last)")

# Bytes of Ray's log files and sockets; with less it cannot be said to start.
_LEAST_ROOM = 50 * 1024**2

_NEVER = logging.CRITICAL + 1


def start_ray(*, cores: int | None = None) -> None:
    """Joins the cluster that the job was submitted to, or starts a Ray of its own.

    RAY_ADDRESS alone tells: `ray job submit` sets it, and a cluster that an earlier program left
    behind on this machine does not. A second call changes nothing.

    Args:
        cores: that a Ray of its own is told of; None for this machine's and those of the graph's
            own steps.

    Raises:
        RunError: it cannot be started or joined.
    """
    if ray.is_initialized():
        return
    _quieten()
    settings: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if is_own_ray():
        # The graph's own steps are light. On a machine of few cores they must not take a whole
        # one from the pools.
        cores = cores or len(os.sched_getaffinity(0)) + int(OVERHEAD_CPUS)
        settings |= {"address": "local", "num_cpus": cores, "include_dashboard": False}
    with _native_stderr_held():
        try:
            ray.init(**settings)
        except (RuntimeError, OSError, ValueError) as error:
            raise RunError(
                f"Ray could not be {'started' if is_own_ray() else 'joined'}: "
                f"{' '.join(str(error).split())}{_room()}",
                advice="Remove the cause and run the same command again.",
            ) from error
    _quieten()  # again, since ray.init adds handlers of its own
    end_on_sigterm()  # again, since ray.init installs a handler that prints a native stack trace


def _room() -> str:
    """What is to be said of the disk of Ray's temporary folder, on which it needs some room."""
    folder = os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()
    free = shutil.disk_usage(folder).free if os.path.isdir(folder) else 0
    if free >= _LEAST_ROOM:
        return ""
    return f" (its temporary folder {folder} has {byte_size(free)} free; RAY_TMPDIR names another)"


def is_own_ray() -> bool:
    """Whether the job has a Ray of its own, of this machine, and joins no cluster."""
    return not os.environ.get("RAY_ADDRESS")


def real_cores(told: float) -> float:
    """Cores of which Ray counts `told`: a Ray of the job's own is told of more than there are."""
    return told - OVERHEAD_CPUS * is_own_ray()


@contextmanager
def _native_stderr_held() -> Iterator[None]:
    """Keeps what native code writes to stderr, and shows it if the block fails.

    Ray's core announces the log level that it was told, past Python's logging.
    """
    sys.stderr.flush()
    original = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except RunError:
            raise  # says the cause by itself
        except BaseException:
            held.seek(0)
            os.write(original, held.read())
            raise
        finally:
            os.dup2(original, 2)
            os.close(original)


def check_outlives_job(output: str) -> None:
    """Refuses an output that would go with the folder that Ray unpacked for a submitted job.

    Raises:
        UsageError: it is a relative path, and this process runs in such a folder.
    """
    is_absolute = "://" in output or Path(output).expanduser().is_absolute()
    if "working_dir_files" in Path.cwd().parts and not is_absolute:
        raise UsageError(
            f"OUTPUT {output} is relative to the folder that Ray unpacked for this job and deletes "
            f"after it; name an absolute path that every machine sees, or s3://bucket/prefix"
        )


def ray_logs() -> str | None:
    """The folder of Ray's log files on this machine, which hold what the screen does not; None
    where Ray does not run.
    """
    folder = get_log_directory()
    return None if folder is None else os.path.dirname(folder)


def _quieten() -> None:
    """Leaves the screen to progress and to one line per error; Ray's log files keep the rest.

    An error of a worker reaches the driver as an exception, whose cause the command says. Ray logs
    the same error once more at each of its layers, with a traceback each.
    """
    # Ray's core calls every actor with arguments in the object store an error.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    core, data = logging.getLogger("ray"), logging.getLogger("ray.data")
    core.setLevel(logging.ERROR)
    files = [each for each in data.handlers if not isinstance(each, logging.StreamHandler)]
    for handler in files:
        core.addHandler(handler)
    for handler in (*core.handlers, *data.handlers):
        if isinstance(handler, logging.StreamHandler):
            handler.setLevel(_NEVER)


class _RayMessages(io.TextIOBase):
    """Where Ray's messages go instead of stdout, which is for the result alone."""

    def write(self, text: str) -> int:
        if text.strip() and not any(each in text for each in _UNSHOWN):
            sys.stderr.write(text if text.endswith("\n") else f"{text}\n")
        return len(text)


def ray_messages_aside() -> contextlib.AbstractContextManager[io.TextIOBase]:
    """Sends what Ray prints on stdout to stderr, but for what is not to be shown."""
    return contextlib.redirect_stdout(_RayMessages())
