"""Error messages of runs that stopped: what failed, where, and what to do, in one line each."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa
import ray

from pipeline.errors import RunError
from pipeline.execution.ray_session import ray_logs
from pipeline.formatting import byte_size
from pipeline.run.commits import committed
from pipeline.run.run_directory import RunDirectory
from pipeline.run.sampled import count_to_label
from pipeline.storage.atomic_files import failed_path
from pipeline.storage.location import is_out_of_space
from pipeline.storage.storage_errors import storage_reason

# A line of a traceback that names an exception, such as `workers.devices.DeviceError: no GPU`.
_RAISED = re.compile(r"(?:[A-Za-z_]\w*\.)*([A-Za-z_]\w*): (.+)")
# Exceptions whose class name adds nothing to their message.
_PLAIN = {"RuntimeError", "ValueError", "OSError", "DeviceError", "RunError", "UsageError"}

_PATH = re.compile(r"'(/[^']*)'")

# Bytes of the tables, as a share of the bytes of the rows that they are built from.
_TABLES_SHARE = 1.0

_RESUME = "Run the same command again to resume."


def run_failure(
    error: BaseException, run: RunDirectory, *, run_id: str | None, total: int | None = None
) -> RunError:
    """The error that a run ends with, after an exception that is not about a single video.

    Args:
        error: the exception, as Ray wraps it.
        run: the run.
        run_id: identity of the run; None before it began.
        total: units of the run, if known.
    """
    causes = list(_causes(error))
    for cause in causes:
        # An exception of Ray is also an instance of its cause's class; its text is a traceback.
        if isinstance(cause, RunError) and not isinstance(cause, ray.exceptions.RayError):
            cause.args = (_first_line(cause),)
            return cause
    if run_id is not None and (lost := run.lost(run_id)) is not None:
        return lost
    last = causes[-1]
    parts, advice = [root_cause(error)], _RESUME
    if isinstance(last, ray.exceptions.OutOfDiskError):
        parts = [_spilling()]
        advice = "Free space there, or start Ray with --temp-dir on a larger disk. " + _RESUME
    elif is_out_of_space(last):
        parts[0] += _free(last)
        advice = "Free space there. " + _RESUME
    if run_id is not None and (safe := _safe(run, total, missing_space=is_out_of_space(last))):
        parts.append(safe)
    if isinstance(error, ray.exceptions.RayError) and (logs := ray_logs()) is not None:
        advice += f"\nTracebacks are in Ray's logs: {logs}"
    return RunError(". ".join(parts), advice=advice)


@contextmanager
def after_work() -> Iterator[None]:
    """Raises errors of reading or writing files as RunError, for steps after labeling.

    Exit code 2 is for errors before labeling.

    Raises:
        RunError: a file could not be read or written.
    """
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        text = root_cause(error)
        if is_out_of_space(error):
            text += _free(error)
        raise RunError(
            text, advice="Labeled units are safe; run the same command again to resume."
        ) from error


def root_cause(error: BaseException) -> str:
    """The message of the exception that a worker raised, in one line, without Ray's wrapping and
    traceback.
    """
    last = list(_causes(error))[-1]
    if isinstance(last, OSError):
        return _of_storage(last)
    if not isinstance(last, ray.exceptions.RayError):
        return _first_line(last)
    lines = [line.rstrip() for line in str(last).splitlines() if line.strip()]
    raised = [match for line in lines if (match := _RAISED.fullmatch(line))]
    if not raised:
        return lines[-1].strip() if lines else type(last).__name__
    name, said = raised[-1].groups()
    return said if name in _PLAIN else f"{name}: {said}"


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and the errors that Ray wrapped in it, as `cause`. Ray Data sets `__cause__` to an
    empty marker.
    """
    yield error
    cause = getattr(error, "cause", None)
    if isinstance(cause, BaseException) and cause is not error:
        yield from _causes(cause)


def _first_line(error: BaseException) -> str:
    """First line of an error's message: Ray Data appends lines on how to configure its retries."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), "") or (
        type(error).__name__
    )


def _of_storage(error: OSError) -> str:
    """Such as `/out/units: No space left on device`."""
    if not error.errno:
        place, reason = getattr(error, "place", ""), storage_reason(error)
        return f"{place}: {reason}" if place else reason
    place, reason = _path(error), os.strerror(error.errno)
    return reason if place is None else f"{place}: {reason}"


def _path(error: OSError) -> str | None:
    """The local file that an error names, if any."""
    if (place := failed_path(error)) is not None:
        return place
    # Ray Data appends its advice to the arguments, where it replaces the file name.
    if error.filename is not None and "\n" not in str(error.filename):
        return os.fsdecode(error.filename)
    found = _PATH.search(error.strerror or "")
    return found[1] if found else None


def _free(error: BaseException) -> str:
    """The free space on the disk that an error calls full."""
    place = (_path(error) if isinstance(error, OSError) else None) or ""
    while place and not os.path.exists(place):
        place = os.path.dirname(place)
    if not place:
        return ""
    return f" ({byte_size(shutil.disk_usage(place).free)} free)"


def _spilling() -> str:
    logs = ray_logs()
    where = f", such as {os.path.dirname(logs)}" if logs else ""
    return (
        f"the disk to which Ray spills decoded frames is full: its temporary folder on one of the "
        f"machines{where}"
    )


def _safe(run: RunDirectory, total: int | None, *, missing_space: bool) -> str | None:
    """How many units are committed, and about how much space the rest needs; None if none are."""
    try:
        done = committed(run).units
        total = count_to_label(run) if total is None else total
        written = sum(place.size() for place in (run.units, run.checkpoint))
    except Exception:  # the storage that failed is read
        return "Committed units are safe"
    if not done:
        return None
    text = f"{done:,} of {total:,} units are committed and safe"
    if not missing_space:
        return text
    needed = written / done * ((total - done) + _TABLES_SHARE * total)
    return f"{text}; the rest and the tables need about {byte_size(needed)} more on that disk"
