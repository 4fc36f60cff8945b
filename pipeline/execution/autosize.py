"""`--decoders auto`: sizes the decoder pool by rates measured on a sample of the run's units.

The sample goes through the same graph and is committed like all other units, so that no unit is
labeled twice. It is spread over the manifest, since neighbors are often alike.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import pyarrow as pa

from pipeline.execution.block_size import grain
from pipeline.execution.bottleneck import Capacity, fit_decoders
from pipeline.execution.pools import Pools
from pipeline.execution.stage_stats import Stages
from pipeline.inputs.manifest import MANIFEST_SCHEMA
from pipeline.run.run_directory import OpenRun, RunDirectory
from pipeline.run.run_record import RunRecord, StagesRecord
from pipeline.run.sampled import to_label
from pipeline.storage.location import Location
from pipeline.storage.parquet_files import read_parquet
from pipeline.storage.parquet_parts import PartWriter
from workers.sampling import Protocol

# Size of the sample, large enough for videos of different lengths.
_UNITS_PER_DECODER = 16
_CALLS_PER_LABELER = 6

# Length of a run, in samples, from which on a sample pays: the graph starts again after it.
_WORTH_SAMPLES = 8

# Number of files of the manifest that a sample is taken from.
_FILES = 16

# Units of a run so large that it does not limit what a labeler takes at once.
_MANY = 10**9


@dataclass(frozen=True)
class Remaining:
    """Units of a run.

    Attributes:
        total: all of them.
        done: those that have a row.
        what: what they are called, "videos" or "segments".
    """

    total: int
    done: int
    what: str

    @property
    def left(self) -> int:
        """Units without a row."""
        return max(0, self.total - self.done)


def fitted_decoders(
    run: OpenRun,
    remaining: Remaining,
    *,
    sample: int,
    capacity: Capacity,
    measure: Callable[[Location], Stages],
    say: Callable[[str], None],
) -> int | None:
    """The number of decoders that keeps the labelers busy; None if it could not be measured.

    Args:
        run: the run; its record holds rates of earlier attempts and receives new ones.
        remaining: units of the run.
        sample: units to measure on.
        capacity: what the cluster has.
        measure: labels the units of a manifest and returns the statistics of the stages.
        say: shows a line to the user.
    """
    stages = recorded(run.record, capacity)
    if stages is None:
        if remaining.left < _WORTH_SAMPLES * sample:
            say(
                f"--decoders auto: {remaining.left:,} {remaining.what} are too few to measure "
                f"{sample:,} of them first; using the default."
            )
            return None
        say(f"--decoders auto: measuring {sample:,} of {remaining.left:,} {remaining.what}.")
        measured = stages = measure(write_sample(run.directory, sample))
        discard_sample(run.directory)
        run.update(lambda record: with_rates(record, measured, capacity))
    fit = fit_decoders(stages, capacity, what=remaining.what)
    if fit is None:
        say("--decoders auto: no unit of the sample could be labeled; using the default.")
        return None
    say(f"--decoders auto: {fit.why}.")
    return fit.decoders


def sample_size(
    protocol: Protocol, pools: Pools, batch_size: int, *, adaptive: bool = False
) -> int:
    """Units that rates are measured on: several tasks and full calls for every actor.

    Args:
        protocol: how videos become views.
        pools: of the run.
        batch_size: views per forward pass.
        adaptive: as in `grain`.
    """
    rows = grain(
        protocol,
        batch_size=batch_size,
        units=_MANY,
        decoders=pools.decoders[1],
        labelers=pools.labelers,
        adaptive=adaptive,
    ).label_rows
    return max(_UNITS_PER_DECODER * pools.decoders[1], _CALLS_PER_LABELER * pools.labelers * rows)


def write_sample(run: RunDirectory, count: int) -> Location:
    """Writes a manifest of `count` evenly spread units of the run, or of all if they are fewer."""
    place = _place(run)
    files = to_label(run).files(".parquet")
    files = [files[at] for at in _spread(len(files), _FILES)]
    with PartWriter(place, MANIFEST_SCHEMA, count) as writer:
        for number, file in enumerate(files):
            rows = read_parquet(file)
            share = count * (number + 1) // len(files) - count * number // len(files)
            wanted = pa.array(_spread(rows.num_rows, share), pa.int64())
            writer.write(rows.select(MANIFEST_SCHEMA.names).take(wanted).cast(MANIFEST_SCHEMA))
    return place


def discard_sample(run: RunDirectory) -> None:
    """Deletes the sample that this attempt or a killed one wrote, if there is one."""
    _place(run).delete_parts()
    _place(run).delete_empty()


def with_rates(record: RunRecord, stages: Stages, capacity: Capacity) -> RunRecord:
    """The record with measured rates, for a later attempt on the same machines.

    Of two measurements the one on more units is kept.
    """
    known = recorded(record, capacity)
    more = known is None or stages.label.units >= known.label.units
    if not (stages.are_measured and more):
        return record
    return replace(record, measured=StagesRecord(capacity.labeler_threads, stages.as_json()))


def recorded(record: RunRecord, capacity: Capacity) -> Stages | None:
    """Statistics of an earlier attempt with labelers of the same kind; None if there are none."""
    measured = record.measured
    if measured is None or measured.threads != capacity.labeler_threads:
        return None
    try:
        return Stages.from_json(measured.stages)
    except (KeyError, TypeError):
        return None


def _place(run: RunDirectory) -> Location:
    return run.root.child("_sample")


def _spread(total: int, count: int) -> list[int]:
    """`count` indices below `total`, evenly spread; all of them if `total` is not larger."""
    count = min(total, count)
    return [(2 * place + 1) * total // (2 * count) for place in range(count)]
