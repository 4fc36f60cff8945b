"""Joins or starts Ray, and keeps its messages off the screen."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import re
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
import ray._private.worker
import ray.data
from ray._private.services import find_gcs_addresses
from ray.data._internal.logging import get_log_directory

from pipeline.errors import RunError, UsageError
from pipeline.execution.pools import OVERHEAD_CPUS
from pipeline.execution.stopping import end_on_sigterm
from pipeline.formatting import byte_size
from pipeline.job_commands import is_submitted
from pipeline.messages import say
from workers.machine import usable_cores

_ADDRESS = "RAY_ADDRESS"
_CONNECT_SECONDS = 10.0

# Messages of Ray that are not shown: a warning that every graph with actors causes on a machine of
# two cores, and tracebacks of workers, which are in Ray's log files.
_HIDDEN = ("PYTHON worker processes have been started", "Traceback (most recent call last)")

# Bytes of Ray's log files and sockets; with less, Ray may not start.
_MIN_FREE_BYTES = 50 * 1024**2

_NEVER = logging.CRITICAL + 1

# Colors of a terminal in Ray's messages.
_COLOR = re.compile(r"\x1b\[[0-9;]*m")


def start_ray(*, cores: int | None = None, drivers: int = 1) -> None:
    """Joins the cluster that RAY_ADDRESS names, or starts a local Ray.

    `ray job submit` sets RAY_ADDRESS. A cluster that an earlier program left on this machine is not
    joined. A second call changes nothing.

    Args:
        cores: cores that a local Ray is told of; None for this machine's cores and those of the
            graphs' own steps.
        drivers: number of drivers, each with a graph of its own.

    Raises:
        UsageError: RAY_ADDRESS names no cluster, or several fit it.
        RunError: Ray cannot be started or joined.
    """
    if ray.is_initialized():
        return
    check_ray_address()
    _quieten()
    ray._private.worker.print_to_stdstream = _say_cluster_message
    settings: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if is_own_ray():
        # The graph's own steps are light. On a machine of few cores they must not take a whole core
        # from the pools.
        cores = cores or usable_cores() + drivers * int(OVERHEAD_CPUS)
        settings |= {"address": "local", "num_cpus": cores, "include_dashboard": False}
    with _native_stderr_held():
        try:
            ray.init(**settings)
        except Exception as error:  # Ray raises plain Exceptions too, such as on a slow start
            raise RunError(
                f"Ray could not be {'started' if is_own_ray() else 'joined'}: "
                f"{' '.join(str(error).split())}{_full_disk()}",
                advice="Remove the cause and run the same command again.",
            ) from error
    _quieten()  # again, since ray.init adds handlers of its own
    end_on_sigterm()  # again, since ray.init installs a handler that prints a native stack trace


def _full_disk() -> str:
    """A note for a message if the disk of Ray's temporary folder is nearly full; else ""."""
    folder = os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()
    free = shutil.disk_usage(folder).free if os.path.isdir(folder) else 0
    if free >= _MIN_FREE_BYTES:
        return ""
    return f" (its temporary folder {folder} has {byte_size(free)} free; set RAY_TMPDIR to another)"


def is_own_ray() -> bool:
    """Whether the job starts a local Ray and joins no cluster."""
    return os.environ.get(_ADDRESS, "") in ("", "local")


def check_ray_address() -> None:
    """Refuses a RAY_ADDRESS that names no cluster, or that several clusters fit.

    Ray itself would join any cluster that it finds, or wait minutes for one that does not exist.

    Raises:
        UsageError: the message names the clusters found and how to choose one.
    """
    address = os.environ.get(_ADDRESS, "")
    if is_own_ray() or address.startswith("ray://") or ray.is_initialized():
        return
    leave = f"or unset {_ADDRESS} to start a local Ray"
    if address == "auto":
        found = sorted(find_gcs_addresses())
        if len(found) != 1:
            choices = " or ".join(f"{_ADDRESS}={each}" for each in found)
            raise UsageError(
                f"{_ADDRESS}=auto finds {len(found)} Rays on this machine; set {choices}, {leave}"
                if found
                else f"{_ADDRESS}=auto finds no Ray on this machine; start one, {leave}"
            )
        return
    if address.startswith(("http://", "https://")):
        raise UsageError(
            f"{_ADDRESS}={address} is the address for submitting jobs, which `ray job submit` "
            f"reads from RAY_API_SERVER_ADDRESS; {_ADDRESS} is HOST:PORT of the cluster, such as "
            f"127.0.0.1:6379, {leave}"
        )
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise UsageError(f"{_ADDRESS}={address} is not HOST:PORT, such as 127.0.0.1:6379, {leave}")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise UsageError(
            f"there is no Ray at {_ADDRESS}={address} ({error}); name a running one, {leave}"
        ) from error


def real_cores(counted: float) -> float:
    """Cores that exist, where Ray counts `counted`: a local Ray is told of more than exist."""
    return min(counted, usable_cores()) if is_own_ray() else counted


@contextmanager
def _native_stderr_held() -> Iterator[None]:
    """Holds back what native code writes to stderr, and shows it if the block fails.

    Ray's core prints its log level without Python's logging.
    """
    sys.stderr.flush()
    original = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except RunError:
            raise  # its message has the cause
        except BaseException:
            held.seek(0)
            os.write(original, held.read())
            raise
        finally:
            os.dup2(original, 2)
            os.close(original)


def check_outlives_job(place: str, what: str = "OUTPUT") -> None:
    """Refuses a relative path in a submitted job.

    It would be in the folder that Ray unpacked for the job and deletes after it, or, if none was
    uploaded, in a folder that the cluster chooses.

    Args:
        place: the path or address that the user gave.
        what: its name in the command.

    Raises:
        UsageError: the path is relative, and this process is a submitted job.
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
    """The folder of Ray's log files on this machine; None if Ray does not run."""
    folder = get_log_directory()
    return None if folder is None else os.path.dirname(folder)


def _quieten() -> None:
    """Keeps Ray's log messages off the screen; its log files have them.

    An error of a worker reaches the driver as an exception, whose cause the command prints. Each
    layer of Ray would log the same error again with a traceback.
    """
    # Ray's core logs an error for every actor with arguments in the object store.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    core, data = logging.getLogger("ray"), logging.getLogger("ray.data")
    core.setLevel(logging.ERROR)
    files = [each for each in data.handlers if not isinstance(each, logging.StreamHandler)]
    for handler in files:
        core.addHandler(handler)
    ours = logging.getLogger().handlers  # a program may have added its own to Ray's loggers too
    for handler in (*core.handlers, *data.handlers):
        if isinstance(handler, logging.StreamHandler) and handler not in ours:
            handler.setLevel(_NEVER)


def _say(message: str) -> None:
    """Prints a message of Ray on stderr, since stdout is for results; those in _HIDDEN it drops."""
    if message.strip() and not any(each in message for each in _HIDDEN):
        say(_COLOR.sub("", message).rstrip("\n"))


def _say_cluster_message(data: dict[str, Any], ignore_prefix: bool = False) -> None:
    """Prints what a node of the cluster reports to its drivers, in place of Ray's own function.

    Ray's function holds repeated messages back and prints them on stdout as the driver exits, after
    the command's result.
    """
    for line in data["lines"]:
        _say(line if ignore_prefix else f"({data['pid']}) {line}")


class _RayMessages(io.TextIOBase):
    """Takes what Ray prints on stdout."""

    def write(self, text: str) -> int:
        _say(text)
        return len(text)


def ray_messages_aside() -> contextlib.AbstractContextManager[io.TextIOBase]:
    """Redirects what Ray prints on stdout to stderr, without the messages in _HIDDEN."""
    return contextlib.redirect_stdout(_RayMessages())
