"""What labelers compute on: what they are asked for, and what they said in run.json."""

from __future__ import annotations

import os

from pipeline.errors import UsageError
from pipeline.run.run_record import Attempt, RunRecord
from workers.device_names import DeviceKind, is_cpu_name

# Set to "cpu" by tests of clusters whose GPUs exist for Ray's scheduler alone. Labelers then hold
# GPUs and compute on CPUs, and say so.
STAND_IN = "STA_GPU_STAND_IN"


def labeler_device(*, on_gpu: bool) -> DeviceKind:
    """What labelers must compute on: the GPU that each holds, or cores where they hold none.

    Raises:
        UsageError: the stand-in for GPUs is set to another value than "cpu".
    """
    if not on_gpu:
        return "cpu"
    stand_in = os.environ.get(STAND_IN)
    if stand_in is None:
        return "cuda"
    if stand_in != "cpu":
        raise UsageError(
            f"{STAND_IN} is {stand_in!r}; it must be unset, or cpu for tests in which Ray "
            f"schedules GPUs that do not exist"
        )
    return "cpu"


def devices_of(record: RunRecord) -> tuple[str, ...]:
    """Names of all devices that the labelers of a run computed on; none where no labeler came to
    its first batch.
    """
    return tuple(sorted({name for attempt in record.attempts for name in attempt.devices}))


def device_words(record: RunRecord) -> str | None:
    """The names in one line; None where there are none."""
    return " and ".join(devices_of(record)) or None


def ran_on_gpu(attempt: Attempt) -> bool:
    """Whether device time of an attempt is that of GPUs.

    Where no labeler came to its first batch, whether they were given GPUs.
    """
    if not attempt.devices:
        return attempt.labeler_gpus > 0
    return any(not is_cpu_name(name) for name in attempt.devices)
