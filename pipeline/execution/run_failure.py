"""Why a run could not go on: what failed, where, and what to do, in one line each."""

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
from pipeline.inputs.manifest import count_rows
from pipeline.run.commits import committed
from pipeline.run.run_directory import RunDirectory
from pipeline.storage.atomic_files import failed_path
from pipeline.storage.location import is_out_of_space
from pipeline.storage.s3_filesystem import storage_reason

# A line of a traceback that names an exception, such as `workers.devices.DeviceError: no GPU`.
_RAISED = re.compile(r"(?:[A-Za-z_]\w*\.)*([A-Za-z_]\w*): (.+)")
# Classes whose name adds nothing to what they say.
_PLAIN = {"RuntimeError", "ValueError", "OSError", "DeviceError", "RunError", "UsageError"}

_IN_BUCKET = re.compile(r"key '([^']*)' in bucket '([^']*)'")
_BUCKET = re.compile(r"bucket '([^']*)'")
_PATH = re.compile(r"'(/[^']*)'")

# Tables take about as many bytes as the rows that they are built from.
_TABLES_SHARE = 1.0

_RESUME = "Run the same command again to resume."


def run_failure(
    error: BaseException, run: RunDirectory, *, run_id: str | None, total: int | None = None
) -> RunError:
    """What a run ends with after an error that is not one video's.

    Args:
        error: what was raised, as Ray wraps it.
        run: the run.
        run_id: identity of the run that began; None before it began.
        total: units of the run, if known.
    """
    causes = list(_causes(error))
    for cause in causes:
        # What Ray raises is an instance of the class of its cause too, with a traceback for a text.
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
    """Makes errors of what follows a run's work ones of the run: exit code 2 is for before it.

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
            text, advice="What was labeled is safe; the same command goes on from there."
        ) from error


def root_cause(error: BaseException) -> str:
    """What a worker raised, in its own words and in one line: Ray wraps it, and adds a traceback
    above it.
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
    """The error and what Ray wrapped in it. `cause` is Ray's; `__cause__` is no help, since Ray
    Data sets it to an empty marker.
    """
    yield error
    cause = getattr(error, "cause", None)
    if isinstance(cause, BaseException) and cause is not error:
        yield from _causes(cause)


def _first_line(error: BaseException) -> str:
    """What an error says by itself: Ray Data appends lines on how to configure its retries."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), "") or (
        type(error).__name__
    )


def _of_storage(error: OSError) -> str:
    """Such as `/out/units: No space left on device`."""
    if not error.errno:
        place, reason = _object(str(error)), storage_reason(error)
        return reason if place is None or place in reason else f"{place}: {reason}"
    place, reason = _path(error), os.strerror(error.errno)
    return reason if place is None else f"{place}: {reason}"


def _path(error: OSError) -> str | None:
    """The local file that an error is about, if it says so."""
    if (place := failed_path(error)) is not None:
        return place
    # Ray Data appends its advice to the arguments, where it takes the place of a file's name.
    if error.filename is not None and "\n" not in str(error.filename):
        return os.fsdecode(error.filename)
    found = _PATH.search(error.strerror or "")
    return found[1] if found else None


def _object(said: str) -> str | None:
    """The address in a message of Arrow's."""
    if found := _IN_BUCKET.search(said):
        return f"s3://{found[2]}/{found[1]}"
    found = _BUCKET.search(said)
    return f"s3://{found[1]}" if found else None


def _free(error: BaseException) -> str:
    """What is left where an error says that nothing is."""
    place = (_path(error) if isinstance(error, OSError) else None) or ""
    while place and not os.path.exists(place):
        place = os.path.dirname(place)
    if not place:
        return ""
    return f" ({byte_size(shutil.disk_usage(place).free)} free)"


def _spilling() -> str:
    logs = ray_logs()
    where = f" such as {os.path.dirname(logs)}" if logs else ""
    return (
        f"a disk is full to which Ray spills decoded frames: its temporary folder on one of the "
        f"machines,{where}"
    )


def _safe(run: RunDirectory, total: int | None, *, missing_space: bool) -> str | None:
    """What stays of the work, if there is any, and about how much space the rest needs."""
    try:
        done = committed(run).units
        total = count_rows(run.manifest) if total is None else total
        written = sum(place.size() for place in (run.units, run.checkpoint))
    except Exception:  # the storage that failed is asked
        return "What is committed is safe"
    if not done:
        return None
    text = f"{done:,} of {total:,} units are committed and safe"
    if not missing_space:
        return text
    needed = written / done * ((total - done) + _TABLES_SHARE * total)
    return f"{text}; the rest and the tables need about {byte_size(needed)} more there"
