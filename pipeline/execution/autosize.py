"""`--decoders auto`: the rates of decoders and labelers from a sample of the run's own units.

The sample goes through the same graph and is committed like all other units, so that nothing is
done twice. It is spread over the manifest, since neighbors are often alike.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.execution.block_size import grain
from pipeline.execution.bottleneck import Capacity, fit_decoders
from pipeline.execution.pools import Pools
from pipeline.execution.stage_stats import Stages
from pipeline.inputs.manifest import MANIFEST_SCHEMA
from pipeline.run.run_directory import OpenRun, RunDirectory
from pipeline.run.run_record import Measured, RunRecord
from pipeline.storage.location import Location
from pipeline.storage.parquet_parts import PartWriter
from workers.sampling import Protocol

# What the rates of a pool follow from, large enough for videos of different lengths.
_UNITS_PER_DECODER = 16
_CALLS_PER_LABELER = 6

# The graph starts once more after a sample; a run shorter than so many of them gains nothing.
_WORTH_SAMPLES = 8

# A manifest of many files is looked at in some of them.
_FILES = 16

# So many units that there is no other limit on what a labeler takes at once.
_MANY = 10**9


@dataclass(frozen=True)
class Remaining:
    """What a run has to do: `total` units, of which `done` have their row; `what` they are."""

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
    """Decoders that keep the labelers busy; None where there is nothing to go by.

    Args:
        run: what is labeled; its record keeps what an earlier attempt measured.
        remaining: what is to be done.
        sample: units to measure by.
        capacity: what the cluster has.
        measure: labels the units of a manifest, and tells what that cost.
        say: tells the user something.
    """
    stages = recorded(run.record, capacity)
    if stages is None:
        if remaining.left < _WORTH_SAMPLES * sample:
            say(
                f"--decoders auto: {remaining.left:,} {remaining.what} are too few to measure "
                f"{sample:,} of them first; taking the default."
            )
            return None
        say(f"--decoders auto: measuring {sample:,} of {remaining.left:,} {remaining.what}.")
        measured = stages = measure(write_sample(run.directory, sample))
        discard_sample(run.directory)
        run.update(lambda record: with_rates(record, measured, capacity))
    fit = fit_decoders(stages, capacity, what=remaining.what)
    if fit is None:
        say("--decoders auto: nothing of the sample could be labeled; taking the default.")
        return None
    say(f"--decoders auto: {fit.why}.")
    return fit.decoders


def sample_size(
    protocol: Protocol, pools: Pools, batch_size: int, *, adaptive: bool = False
) -> int:
    """Units that the rates can be told from: several tasks and full calls for every actor.

    Args:
        protocol: how videos become views.
        pools: of the run.
        batch_size: views per forward pass.
        adaptive: as `sizing.grain` takes it.
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
    """A manifest of `count` of the run's units, or all that there are, spread evenly."""
    place = _place(run)
    files = run.manifest.files(".parquet")
    files = [files[at] for at in _spread(len(files), _FILES)]
    with PartWriter(place, MANIFEST_SCHEMA, count) as writer:
        for number, file in enumerate(files):
            filesystem, path = file.filesystem()
            rows = pq.read_table(path, filesystem=filesystem, partitioning=None)
            share = count * (number + 1) // len(files) - count * number // len(files)
            wanted = pa.array(_spread(rows.num_rows, share), pa.int64())
            writer.write(rows.select(MANIFEST_SCHEMA.names).take(wanted).cast(MANIFEST_SCHEMA))
    return place


def discard_sample(run: RunDirectory) -> None:
    """Deletes a sample, if there is one, that this attempt or a killed one wrote."""
    _place(run).delete_parts()
    _place(run).delete_empty()


def with_rates(record: RunRecord, stages: Stages, capacity: Capacity) -> RunRecord:
    """The record with what was measured, for a later attempt on the same machines.

    Of two measures the one of more units is kept.
    """
    known = recorded(record, capacity)
    more = known is None or stages.label.units >= known.label.units
    if not (stages.are_measured and more):
        return record
    return replace(record, measured=Measured(capacity.labeler_threads, stages.as_json()))


def recorded(record: RunRecord, capacity: Capacity) -> Stages | None:
    """What an earlier attempt measured with labelers of the same kind; None if none did."""
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
    """`count` places of `total`, as far apart as can be; all of them where there are no more."""
    count = min(total, count)
    return [(2 * place + 1) * total // (2 * count) for place in range(count)]
