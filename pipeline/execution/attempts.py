"""Records the attempts of a run: when each began and ended, its cluster and its pools.

The rows of units/ hold what the work took. run.json holds what was reserved, busy or not, which is
what a cluster bills.
"""

from __future__ import annotations

import datetime
import math
from dataclasses import replace
from typing import Any

import ray

from pipeline.execution.pools import Pools
from pipeline.execution.ray_session import real_cores
from pipeline.execution.stage_stats import Stages
from pipeline.execution.worst_case import WorstCase
from pipeline.run.devices import devices_of
from pipeline.run.run_directory import now
from pipeline.run.run_record import Attempt, ClusterRecord, RunRecord
from workers.machine import cpu_model


def begin_attempt(record: RunRecord, pools: Pools, began: datetime.datetime) -> RunRecord:
    """The record with one more attempt, which has not ended. Ray must run.

    A killed attempt has no end; its last row shows when it last worked.
    """
    cluster = describe_cluster()
    attempt = Attempt(
        began=began,
        ended=None,
        cpus=cluster.cpus,
        gpus=cluster.gpus,
        nodes=cluster.nodes,
        **_pools(pools),
    )
    return replace(
        record,
        device=replace(cluster, labelers=devices_of(record)),
        attempts=(*record.attempts, attempt),
    )


def note_machines(record: RunRecord, stages: Stages) -> RunRecord:
    """The record with the devices of the last attempt's labelers, and the parts of the sandbox that
    its decoders' machines lack; unchanged if it has them already.
    """
    known = record.attempts[-1]
    devices = tuple(sorted({*known.devices, *stages.label.devices}))
    missing = tuple(sorted({*known.missing_sandbox, *stages.decode.missing}))
    if (devices, missing) == (known.devices, known.missing_sandbox):
        return record
    record = _changed(record, devices=devices, missing_sandbox=missing)
    assert record.device is not None
    return replace(record, device=replace(record.device, labelers=devices_of(record)))


def note_progress(record: RunRecord, *, units: int) -> RunRecord:
    """The record with the number of units that had a row when the last attempt began."""
    return _changed(record, units_before=units)


def note_worst_case(record: RunRecord, worst: WorstCase) -> RunRecord:
    """The record with the longest that the last attempt's decoding can take."""
    return _changed(record, worst_file_s=worst.file_s, worst_run_s=worst.run_s)


def change_pools(record: RunRecord, pools: Pools) -> RunRecord:
    """The record with new pool sizes of the last attempt."""
    return _changed(record, **_pools(pools))


def note_growth(record: RunRecord) -> RunRecord:
    """The record with the largest size of the last attempt's cluster so far."""
    cluster = describe_cluster()

    def largest(known: ClusterRecord | Attempt) -> dict[str, Any]:
        return {name: max(getattr(known, name), getattr(cluster, name)) for name in _COUNTED}

    assert record.device is not None
    device = replace(record.device, **largest(record.device))
    return replace(_changed(record, **largest(record.attempts[-1])), device=device)


def end_attempt(record: RunRecord) -> RunRecord:
    """The record with the end of the last attempt, if there is one."""
    return _changed(record, ended=now()) if record.attempts else record


def describe_cluster() -> ClusterRecord:
    """The cluster as it is now, and the CPU of the driver's machine. Labelers report their devices
    themselves.
    """
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return ClusterRecord(
        cpu=cpu_model(),
        cpus=real_cores(sum(node.get("CPU", 0.0) for node in nodes)),
        gpus=sum(node.get("GPU", 0.0) for node in nodes),
        nodes=len(nodes),
    )


_COUNTED = ("cpus", "gpus", "nodes")


def _changed(record: RunRecord, **changes: Any) -> RunRecord:
    """The record with changes of its last attempt."""
    *before, last = record.attempts
    return replace(record, attempts=(*before, replace(last, **changes)))


def _pools(pools: Pools) -> dict[str, Any]:
    return {
        "decoders": pools.most_decoders,
        "decoder_cpus": pools.decoder_cpus,
        "labelers": pools.labelers,
        # A labeler without a GPU computes on more cores than it reserves.
        "labeler_cpus": pools.labeler_threads or pools.labeler_cpus,
        # One that shares its GPU with decoders computes on the whole of it.
        "labeler_gpus": math.ceil(pools.labeler_gpus),
        "drivers": pools.drivers,
    }
