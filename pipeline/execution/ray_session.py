"""Joining or starting Ray, and keeping the screen for what the user needs to see."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
import ray.data
from ray._private.services import find_gcs_addresses
from ray.data._internal.logging import get_log_directory

from pipeline.errors import RunError, UsageError
from pipeline.execution.pools import OVERHEAD_CPUS
from pipeline.execution.stopping import end_on_sigterm
from pipeline.formatting import byte_size

_ADDRESS = "RAY_ADDRESS"
_CONNECT_SECONDS = 10.0

# What Ray's job supervisor sets for the command of a submitted job.
_OF_SUBMITTED = "RAY_JOB_CONFIG_JSON_ENV_VAR"

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
        UsageError: RAY_ADDRESS leads to no cluster, or leaves open to which.
        RunError: it cannot be started or joined.
    """
    if ray.is_initialized():
        return
    check_ray_address()
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
    return os.environ.get(_ADDRESS, "") in ("", "local")


def check_ray_address() -> None:
    """Refuses a RAY_ADDRESS that leads to no cluster or leaves open to which.

    Ray itself would join any cluster that it finds, or wait for minutes for one that is not there.

    Raises:
        UsageError: the message says what is there and how to choose.
    """
    address = os.environ.get(_ADDRESS, "")
    if is_own_ray() or address.startswith("ray://") or ray.is_initialized():
        return
    leave = f"or unset {_ADDRESS} for a Ray of the job's own"
    if address == "auto":
        found = sorted(find_gcs_addresses())
        if len(found) != 1:
            choices = " or ".join(f"{_ADDRESS}={each}" for each in found)
            raise UsageError(
                f"{_ADDRESS}=auto finds {len(found)} Rays on this machine; choose by {choices}, "
                f"{leave}"
                if found
                else f"{_ADDRESS}=auto finds no Ray on this machine; start one, {leave}"
            )
        return
    if address.startswith(("http://", "https://")):
        raise UsageError(
            f"{_ADDRESS}={address} is where jobs are submitted to, which `ray job submit` takes as "
            f"RAY_API_SERVER_ADDRESS; {_ADDRESS} is HOST:PORT of the cluster itself, such as "
            f"127.0.0.1:6379, {leave}"
        )
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise UsageError(f"{_ADDRESS}={address} is not HOST:PORT, such as 127.0.0.1:6379, {leave}")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise UsageError(
            f"there is no Ray at {_ADDRESS}={address} ({error}); name one that runs, {leave}"
        ) from error


def is_submitted() -> bool:
    """Whether this process is a job that was handed to Ray by `ray job submit`."""
    return _OF_SUBMITTED in os.environ


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


def check_outlives_job(place: str, what: str = "OUTPUT") -> None:
    """Refuses a relative path in a submitted job: it would lie in the folder that Ray unpacked for
    the job and deletes after it, or, where none was shipped, in a folder of the cluster's choice.

    Args:
        place: what the user named.
        what: what it is called in the command.

    Raises:
        UsageError: it is a relative path, and this process is a submitted job's.
    """
    if "://" in place or Path(place).expanduser().is_absolute():
        return
    if "working_dir_files" in Path.cwd().parts:
        where = "the folder that Ray unpacked for this job and deletes after it"
    elif is_submitted():
        where = f"{Path.cwd()} on the machine where Ray happens to start this job"
    else:
        return
    raise UsageError(
        f"{what} {place} is relative to {where}; name an absolute path that every machine sees, or "
        f"s3://bucket/prefix"
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
