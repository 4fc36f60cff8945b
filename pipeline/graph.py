"""The Ray Data graph: manifest -> decoders -> labellers -> units/, one row in and one row out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import ray
from ray.data import ActorPoolStrategy, DataContext
from ray.data.checkpoint import CheckpointConfig

from pipeline.resources import IO_CPUS, Pools
from pipeline.run_directory import RunDirectory
from workers.decode_actor import DecodeActor
from workers.label_actor import LabelActor, Progress
from workers.labelling import LabellerConfig
from workers.sampling import Protocol
from workers.schema import UNITS_SCHEMA

# Memory that Ray sets aside per decoder: the child's usual peak and its parent.
_DECODER_MEMORY = 600 * 1024**2

# A commit is what a kill can cost: small enough to redo, large enough to make files worth having.
MAX_COMMIT_ROWS = 32


@dataclass(frozen=True)
class GraphConfig:
    """What the graph runs.

    Attributes:
        protocol: how videos become views.
        decoder: which decoder.
        labeller: model and batch size.
        pools: actors and what they reserve.
        commit_rows: units per commit.
    """

    protocol: Protocol
    decoder: str
    labeller: LabellerConfig
    pools: Pools
    commit_rows: int


def commit_rows(units: int, pools: Pools) -> int:
    """Units per commit: small runs are cut fine enough that every decoder has several to do."""
    per_decoder = units // (8 * pools.decoders[1])
    return max(1, min(MAX_COMMIT_ROWS, per_decoder))


def run_graph(run: RunDirectory, config: GraphConfig, progress: Progress) -> None:
    """Labels every unit of the manifest that has no committed row yet.

    Ray Data's checkpointing writes the ids of a commit before its file and confirms them after it;
    a restart removes files without a confirmation and leaves out rows that have one.
    """
    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.checkpoint_config = _checkpointing(run)
    pools = config.pools
    units = ray.data.read_parquet(run.manifest.uri, num_cpus=IO_CPUS)
    units = units.repartition(target_num_rows_per_block=config.commit_rows)
    units = units.map_batches(
        DecodeActor,
        fn_constructor_args=(config.protocol, config.decoder),
        batch_size=None,
        batch_format="pyarrow",
        compute=_pool(pools.decoders),
        num_cpus=pools.decoder_cpus,
        memory=_DECODER_MEMORY,
    )
    units = units.map_batches(
        LabelActor,
        fn_constructor_args=(config.labeller, config.protocol, progress),
        batch_size=config.commit_rows,
        batch_format="pyarrow",
        zero_copy_batch=True,
        compute=_pool((pools.labellers, pools.labellers)),
        num_cpus=pools.labeller_cpus,
        num_gpus=pools.labeller_gpus,
    )
    units.write_parquet(
        run.units.uri,
        schema=_described(run),
        ray_remote_args={"num_cpus": IO_CPUS},
    )


def _checkpointing(run: RunDirectory) -> CheckpointConfig:
    config = CheckpointConfig(
        id_column="unit_id",
        checkpoint_path=run.checkpoint.uri,
        delete_checkpoint_on_success=False,
    )
    # The pools are sized for one filter; by default there may be ten, of one core each.
    config.checkpoint_actor_pool_max_size = 1
    return config


def _pool(size: tuple[int, int]) -> Any:
    low, high = size
    if low == high:
        return ActorPoolStrategy(size=low)
    return ActorPoolStrategy(min_size=low, max_size=high)


def _described(run: RunDirectory) -> pa.Schema:
    return UNITS_SCHEMA.with_metadata(run.schema_metadata())
