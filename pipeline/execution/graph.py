"""The Ray Data graph: manifest -> decoders -> labelers -> units/, one row in and one row out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import ray
from ray.data import ActorPoolStrategy, DataContext

import sta
from pipeline.execution.block_size import Grain, batch_for, default_batch, grain, shadow_batch
from pipeline.execution.budget_updates import update_budgets_now_and_then
from pipeline.execution.checkpointing import belongs, checkpointing, own_files
from pipeline.execution.further_decoders import FurtherDecoders, further_decoders
from pipeline.execution.node_roles import on_nodes_of
from pipeline.execution.pools import DECODER_MEMORY, IO_CPUS, Pools
from pipeline.execution.progress import Reporter
from pipeline.run.run_directory import RunDirectory
from pipeline.run.slices import Slice
from pipeline.storage.location import Location
from pipeline.storage.storage_errors import TRANSIENT_ERRORS
from workers.actor_stats import timed
from workers.decode_actor import DecodeActor, FirstClips
from workers.decoding import DECODE_MODES, DecodeLimits
from workers.file_history import Files
from workers.inference.early_exit import EarlyExit
from workers.inference.labeler import LabelerConfig
from workers.inference.reduction import SweepVariant
from workers.inference.unpruned_sample import Shadow
from workers.label_actor import LabelActor
from workers.sampling import Protocol
from workers.schema import UNITS_SCHEMA
from workers.sweep_actor import SweepActor
from workers.sweep_schema import SWEEP_SCHEMA

# A killed attempt loses at most the rows of the files being written: a two-thousandth of a run. In
# the largest runs files are so large that all of them can be listed in seconds.
_COMMITS = 2000
_MAX_COMMIT_ROWS = 1024


@dataclass(frozen=True)
class GraphConfig:
    """Configuration of the graph.

    Attributes:
        protocol: how videos become views.
        decoder: name of the decoder.
        limits: time and memory limits of decoding a unit.
        labeler: model and batch size.
        pools: sizes and reservations of the actor pools.
        units: units of the run, including those that have a row.
        accept_changed: whether objects that changed since they were listed are labeled anyway.
        shadow_share: share of the units that are also labeled without pruning.
        early_exit: when the evaluation of a unit stops; None for all views of each.
        variants: prunings of a sweep by name; a sweep runs all of them on every unit.
        files: what the files of the run have cost so far; None to count for each actor alone.
        decode_mode: "exact" or "fast", as in SandboxedDecoder.
        drivers: number of graphs that label these units at the same time, each with pools of its
            own.
    """

    protocol: Protocol
    decoder: str
    limits: DecodeLimits
    labeler: LabelerConfig
    pools: Pools
    units: int
    accept_changed: bool = False
    shadow_share: float = 0.0
    early_exit: EarlyExit | None = None
    variants: Mapping[str, SweepVariant] = field(default_factory=dict)
    files: Files | None = None
    decode_mode: str = DECODE_MODES[0]
    drivers: int = 1

    @property
    def shadow(self) -> Shadow | None:
        """The shadow sample; None if there is none."""
        if not self.shadow_share:
            return None
        batch = shadow_batch(self.protocol.views, self.batch_size)
        unpruned = dataclasses.replace(
            self.labeler, pruning=sta.Pruning(r=0), batch_size=batch, embeddings=False
        )
        return Shadow(self.shadow_share, unpruned)

    @property
    def actors(self) -> tuple[type, type]:
        """Classes of the actors of the two pools, decoders first."""
        return timed(DecodeActor), timed(SweepActor if self.variants else LabelActor)

    @property
    def looks(self) -> list[tuple[int, ...]]:
        """Numbers of the clips that are decoded together, as early exit asks for them; empty where
        all clips of a unit are decoded at once.
        """
        if self.early_exit is None or not self.pools.further_decoders:
            return []
        looks = self.protocol.looks(self.early_exit.max_views)
        return looks if len(looks[0]) < self.protocol.clips else []

    @property
    def first(self) -> FirstClips | None:
        """The clips that are decoded of every unit; None for all."""
        return FirstClips(self.looks[0], self.shadow_share) if self.looks else None

    @property
    def batch_size(self) -> int:
        """Views per forward pass; without --batch-size no more than a call of a labeler has, since
        padding takes as long as views do.
        """
        if self.labeler.batch_size is not None:
            return self.labeler.batch_size
        views = self.grain.label_rows * self.protocol.views
        if self.early_exit is not None:
            return min(views, self._most_batch)
        return batch_for(views, self._most_batch)

    @property
    def _most_batch(self) -> int:
        """Views per forward pass where calls have enough of them."""
        return self.labeler.batch_size or default_batch(
            self.protocol, on_gpu=self.pools.labeler_gpus > 0
        )

    @property
    def grain(self) -> Grain:
        """Units that go through the graph together."""
        return grain(
            self.protocol,
            batch_size=self._most_batch,
            units=self.units // self.drivers,
            decoders=self.pools.decoders[1],
            labelers=self.pools.labelers,
            adaptive=self.early_exit is not None,
            clips=None if self.first is None else self.first.mean(self.protocol.clips),
        )

    @property
    def commit_rows(self) -> int:
        """Smallest number of units per file of units/."""
        return max(self.grain.label_rows, min(_MAX_COMMIT_ROWS, self.units // _COMMITS))


def run_graph(
    run: RunDirectory,
    config: GraphConfig,
    report: Reporter,
    *,
    manifest: Location | None = None,
    within: Slice | None = None,
) -> None:
    """Labels every unit of a manifest that has no committed row yet.

    Ray Data's checkpointing writes the ids of a commit before its file and confirms them after it.
    A restart removes files without a confirmation and skips units that have one.

    Args:
        run: the run.
        config: configuration of the graph.
        report: receives what the actors did.
        manifest: manifest to read; None for the run's own.
        within: slice of the units to label; None for all.
    """
    with _further_decoders(config, report) as further:
        _run_graph(run, config, report, further, manifest=manifest, within=within)


@contextmanager
def _further_decoders(config: GraphConfig, report: Reporter) -> Iterator[FurtherDecoders | None]:
    """The decoders that labelers ask for further clips; None where no unit has any."""
    if len(config.looks) < 2:
        yield None
        return
    pools = config.pools
    reserve = {
        "num_cpus": pools.decoder_cpus,
        "num_gpus": pools.decoder_gpus or None,
        "memory": DECODER_MEMORY,
    }
    with further_decoders(
        pools.further_decoders,
        *(report.add_work, *_decoding(config)),
        reserve=reserve | on_nodes_of("decode"),
        **_decoding_settings(config),
    ) as further:
        yield further


def _decoding(config: GraphConfig) -> tuple[Any, ...]:
    """Arguments of a `DecodeActor`."""
    return config.protocol, config.decoder, config.limits


def _decoding_settings(config: GraphConfig) -> dict[str, Any]:
    """Its keyword arguments, but for which clips it decodes."""
    return {
        "accept_changed": config.accept_changed,
        "files": config.files,
        "mode": config.decode_mode,
    }


def _run_graph(
    run: RunDirectory,
    config: GraphConfig,
    report: Reporter,
    further: FurtherDecoders | None,
    *,
    manifest: Location | None,
    within: Slice | None,
) -> None:
    update_budgets_now_and_then()
    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    for pattern in TRANSIENT_ERRORS:
        if pattern not in context.retried_io_errors:
            context.retried_io_errors.append(pattern)
    context.checkpoint_config = checkpointing(run, within)
    pools, rows = config.pools, config.grain
    filesystem, path = (manifest or run.manifest).filesystem()
    units = ray.data.read_parquet(path, filesystem=filesystem, num_cpus=IO_CPUS)
    if within is not None:
        units = units.filter(expr=belongs(within))
    units = units.repartition(target_num_rows_per_block=rows.decode_rows)
    decode_actor, label_actor = config.actors
    units = units.map_batches(
        decode_actor,
        fn_constructor_args=(report.add_work, *_decoding(config)),
        fn_constructor_kwargs=_decoding_settings(config) | {"first": config.first},
        batch_size=None,
        batch_format="pyarrow",
        compute=_pool(pools.decoders),
        num_cpus=pools.decoder_cpus,
        num_gpus=pools.decoder_gpus or None,
        memory=DECODER_MEMORY,
        **on_nodes_of("decode"),
    )
    task = _task(config, report, further)
    labeler = dataclasses.replace(config.labeler, batch_size=config.batch_size)
    units = units.map_batches(
        label_actor,
        fn_constructor_args=(report.add_work, labeler, config.protocol, task.progress),
        fn_constructor_kwargs=task.settings,
        batch_size=rows.label_rows,
        batch_format="pyarrow",
        zero_copy_batch=True,
        compute=_pool((pools.labelers, pools.labelers)),
        num_cpus=pools.labeler_cpus,
        num_gpus=pools.labeler_gpus,
        memory=pools.labeler_memory or None,
        **on_nodes_of("label"),
    )
    units.write_parquet(
        run.units.filesystem()[1],
        filesystem=own_files(run),
        min_rows_per_file=config.commit_rows,
        schema=task.schema.with_metadata(run.schema_metadata()),
        ray_remote_args={"num_cpus": IO_CPUS, **on_nodes_of("label")},
    )


@dataclass(frozen=True)
class _Task:
    """What the labelers do.

    Attributes:
        settings: further arguments of their class.
        progress: called with each batch of rows.
        schema: schema of the rows.
    """

    settings: dict[str, Any]
    progress: Callable[[pa.Table], None]
    schema: pa.Schema


def _task(config: GraphConfig, report: Reporter, further: FurtherDecoders | None) -> _Task:
    if config.variants:
        variants = {"variants": dict(config.variants)}
        return _Task(variants, report.add_sweep, SWEEP_SCHEMA)
    settings = {"shadow": config.shadow, "early_exit": config.early_exit, "further": further}
    return _Task(settings, report.add_labels, UNITS_SCHEMA)


def _pool(size: tuple[int, int]) -> Any:
    low, high = size
    if low == high:
        return ActorPoolStrategy(size=low)
    return ActorPoolStrategy(min_size=low, max_size=high)
