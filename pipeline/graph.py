"""The Ray Data graph: manifest -> decoders -> labellers -> units/, one row in and one row out."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import ray
from ray.data import ActorPoolStrategy, DataContext
from ray.data.checkpoint import CheckpointConfig

from pipeline.resources import IO_CPUS, OVERHEAD_CPUS, Pools
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


def start_ray() -> None:
    """Joins the cluster that the job was submitted to, or starts a Ray of its own.

    RAY_ADDRESS alone tells: `ray job submit` sets it, and a cluster that an earlier program left
    behind on this machine does not.
    """
    _quieten()
    settings: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if not os.environ.get("RAY_ADDRESS"):
        # The graph's own steps are light. On a machine of few cores they must not take a whole
        # one from the pools.
        cores = len(os.sched_getaffinity(0)) + int(OVERHEAD_CPUS)
        settings |= {"address": "local", "num_cpus": cores, "include_dashboard": False}
    with _native_stderr_held():
        ray.init(**settings)


@contextmanager
def _native_stderr_held() -> Iterator[None]:
    """Keeps what native code writes to stderr, and shows it if the block fails.

    Ray's core announces the log level that it was told, past Python's logging.
    """
    sys.stderr.flush()
    original = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(original, held.read())
            raise
        finally:
            os.dup2(original, 2)
            os.close(original)


def _quieten() -> None:
    """Leaves the screen to progress and errors; Ray's own log files keep everything."""
    # Ray's core calls every actor with arguments in the object store an error.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    logging.getLogger("ray").setLevel(logging.ERROR)
    for handler in logging.getLogger("ray.data").handlers:
        if isinstance(handler, logging.StreamHandler):
            handler.setLevel(logging.ERROR)


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
