"""Devices of labelers: the required kind, and the names recorded in run.json."""

from __future__ import annotations

import os

from pipeline.errors import UsageError
from pipeline.run.run_record import Attempt, RunRecord
from workers.device_names import DeviceKind, is_cpu_name

# Tests of clusters whose GPUs exist only for Ray's scheduler set this to "cpu". Labelers then
# reserve GPUs, compute on CPUs and report the CPU's name.
STAND_IN = "STA_GPU_STAND_IN"


def labeler_device(*, on_gpu: bool) -> DeviceKind:
    """The device that labelers must compute on: the GPU that each reserves, or else the CPU.

    Raises:
        UsageError: STA_GPU_STAND_IN has another value than "cpu".
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
    """Names of all devices that the labelers of a run computed on; empty before the first batch."""
    return tuple(sorted({name for attempt in record.attempts for name in attempt.devices}))


def device_words(record: RunRecord) -> str | None:
    """Names of the devices in one line; None if there are none."""
    return " and ".join(devices_of(record)) or None


def ran_on_gpu(attempt: Attempt) -> bool:
    """Whether the labelers of an attempt computed on GPUs.

    Before the first batch: whether they reserve GPUs.
    """
    if not attempt.devices:
        return attempt.labeler_gpus > 0
    return any(not is_cpu_name(name) for name in attempt.devices)
