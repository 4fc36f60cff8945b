"""Joining or starting Ray, and keeping the screen for what the user needs to see."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
import ray.data

from pipeline.errors import UsageError
from pipeline.resources import OVERHEAD_CPUS
from pipeline.stopping import end_on_sigterm

# Ray says this of every graph with actors on a machine of two cores, where it cannot be helped.
_HARMLESS = "PYTHON worker processes have been started"


def start_ray(*, cores: int | None = None) -> None:
    """Joins the cluster that the job was submitted to, or starts a Ray of its own.

    RAY_ADDRESS alone tells: `ray job submit` sets it, and a cluster that an earlier program left
    behind on this machine does not. A second call changes nothing.

    Args:
        cores: that a Ray of its own is told of; None for this machine's and those of the graph's
            own steps.
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
        ray.init(**settings)
    end_on_sigterm()  # again, since ray.init installs a handler that prints a native stack trace


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


def _quieten() -> None:
    """Leaves the screen to progress and errors; Ray's own log files keep everything."""
    # Ray's core calls every actor with arguments in the object store an error.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    logging.getLogger("ray").setLevel(logging.ERROR)
    for handler in logging.getLogger("ray.data").handlers:
        if isinstance(handler, logging.StreamHandler):
            handler.setLevel(logging.ERROR)


class _RayMessages(io.TextIOBase):
    """Where Ray's messages go instead of stdout, which is for the result alone."""

    def write(self, text: str) -> int:
        if _HARMLESS not in text and text.strip():
            sys.stderr.write(text if text.endswith("\n") else f"{text}\n")
        return len(text)


def ray_messages_aside() -> contextlib.AbstractContextManager[io.TextIOBase]:
    """Sends what Ray prints on stdout to stderr, but for one harmless warning."""
    return contextlib.redirect_stdout(_RayMessages())
