"""Measures the durations of long videos, so that they can be divided into segments."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator

import pyarrow as pa
import ray
from ray.data import ActorPoolStrategy, DataContext

from pipeline.execution.file_history import SharedHistory
from pipeline.execution.node_roles import on_nodes_of
from pipeline.execution.pools import DECODER_MEMORY, IO_CPUS, Pools
from pipeline.inputs.video import Video
from pipeline.run.run_directory import RunDirectory
from pipeline.storage.parquet_parts import PartWriter
from workers.decoding import DecodeLimits
from workers.measure_actor import MeasureActor
from workers.sampling import Protocol

_SCHEMA = pa.schema(
    [
        ("video_id", pa.string()),
        ("uri", pa.string()),
        ("part", pa.string()),
        ("size_bytes", pa.int64()),
        ("etag", pa.string()),
        ("ground_truth", pa.string()),
    ]
)
_ROWS_PER_FILE = 100_000

# Small, so that a listing of few videos is still divided among the decoders.
_ROWS_PER_TASK = 16


def with_durations(
    videos: Iterable[Video],
    run: RunDirectory,
    protocol: Protocol,
    pools: Pools,
    limits: DecodeLimits,
) -> Iterator[Video]:
    """The videos in their order, each with its duration; None if it could not be measured.

    Actors measure them in the sandbox that decoding uses. The listing is kept in the run directory
    meanwhile and then deleted. Ray must run.
    """
    with PartWriter(run.listed, _SCHEMA, _ROWS_PER_FILE) as writer:
        writer.write_rows({name: getattr(v, name) for name in _SCHEMA.names} for v in videos)
    yield from _measured(run, protocol, pools, limits)
    run.listed.delete_parts()
    run.listed.delete_empty()


def _measured(
    run: RunDirectory, protocol: Protocol, pools: Pools, limits: DecodeLimits
) -> Iterator[Video]:
    context = DataContext.get_current().copy()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.execution_options.preserve_order = True
    fields = {field.name for field in dataclasses.fields(Video)}
    with DataContext.current(context):
        filesystem, path = run.listed.filesystem()
        listed = ray.data.read_parquet(path, filesystem=filesystem, num_cpus=IO_CPUS)
        measured = listed.repartition(target_num_rows_per_block=_ROWS_PER_TASK).map_batches(
            MeasureActor,
            fn_constructor_args=(protocol, limits, SharedHistory.start()),
            batch_size=None,
            batch_format="pyarrow",
            compute=ActorPoolStrategy(size=pools.decoders[1]),
            num_cpus=pools.decoder_cpus,
            memory=DECODER_MEMORY,
            **on_nodes_of("decode"),
        )
        for batch in measured.iter_batches(batch_size=None, batch_format="pyarrow"):
            for row in batch.to_pylist():
                yield Video(**{name: row[name] for name in fields})
