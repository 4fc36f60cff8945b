"""Benchmark of the pipeline: the graph through Ray Data against a plain loop of its actors."""

from __future__ import annotations

import csv
import dataclasses
import io
import os
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import ray
from ray.data import DataContext

from pipeline.execution.graph import GraphConfig, run_graph
from pipeline.execution.progress import ProgressLine, reporting
from pipeline.execution.ray_session import ray_messages_aside, start_ray
from pipeline.execution.stopping import Stop
from pipeline.flags import flag
from pipeline.formatting import counted
from pipeline.inputs.demo.archive import MANIFEST, ArchiveSettings, make_archive
from pipeline.inputs.listing import Listing
from pipeline.lab.benchmark.core_seconds import cpu_recorded, process_cpu_s
from pipeline.lab.benchmark.paired import OutputsDiffer, Spread, in_turn, ratio
from pipeline.lab.benchmark.report import Chart, Column, Report, Row, conditions
from pipeline.labeling.begin import begin
from pipeline.labeling.graph_runner import GraphRunner, pools_for
from pipeline.labeling.options import LabelOptions
from pipeline.labeling.plan import LabelPlan, plan_labeling
from pipeline.labeling.precision import with_precision
from pipeline.labeling.pruning_flags import PruningFlags
from pipeline.run.counts import Counts
from pipeline.run.run_directory import RunDirectory
from pipeline.storage.location import Location
from workers.decode_actor import DecodeActor
from workers.label_actor import LabelActor
from workers.sampling import parse_views

_GOAL = 1.15

# What differs from run to run and is no result.
_TIMES = ("decode_ms", "device_ms", "labeled_at")

# Actors that take longer to start are not waited for any more, and spoil the figure.
_START_S = 600


@dataclass(frozen=True)
class PipelineBenchmark:
    """What is measured.

    Attributes:
        early_exit: an early-exit file, for `driver_cost`.
    """

    source: str | None = flag(
        "directory or manifest of videos (default: a generated archive)", None, metavar="INPUT"
    )
    videos: int = flag("number of videos", 24, metavar="N")
    # A run must last long enough for its start and end to carry little weight.
    passes: int = flag("how often each video is labeled in a round", 12, metavar="N")
    checkpoint: str = flag("as in the labeling jobs", "demo", metavar="C")
    r: int | None = flag("tokens dropped per frame (default: the model's own)", None, metavar="N")
    views: tuple[int, int] | None = flag(
        "clips x crops (default: the protocol's own)", None, metavar="CxS", type=parse_views
    )
    rounds: int = flag("how often each variant is run", 5, metavar="N")
    early_exit: str | None = None

    def __post_init__(self) -> None:
        for name in ("videos", "passes", "rounds"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be 1 or more; got {getattr(self, name)}")


@dataclass(frozen=True)
class _Cost:
    """What a round cost: cores times wall clock without what other programs took, CPU time of the
    processes, and of that the stages' share; all in core-seconds.
    """

    held_s: float
    cpu_s: float
    wall_s: float
    decode_s: float
    label_s: float
    driver_s: float = 0.0


@dataclass(frozen=True)
class DriverCost:
    """What a run's driver took.

    Attributes:
        per_unit_s: CPU seconds of its process, per unit.
        decode_rows: units of a block of decoded frames.
    """

    per_unit_s: float
    decode_rows: int


def driver_cost(
    options: PipelineBenchmark, folder: Path, say: Callable[[str], None] = lambda line: None
) -> DriverCost:
    """Labels the units once through Ray.

    Raises:
        UsageError, ValueError: the source or the checkpoint is not as it must be.
    """
    folder.mkdir()
    work = _Work.begin(options, folder, say)
    return DriverCost(work.graph().driver_s / work.units, work.decode_rows)


def run_pipeline(
    options: PipelineBenchmark, say: Callable[[str], None] = lambda line: None
) -> Report:
    """Labels the same units in a plain loop and through Ray, in turn.

    Raises:
        OutputsDiffer: a label, a score or a kept map differs between the two.
        UsageError, ValueError: the source or the checkpoint is not as it must be.
    """
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        place = Path(folder)
        work = _Work.begin(options, place, say)
        before = conditions(**work.about(options))
        say(f"labeling {work.units} units both ways and comparing")
        work.plain()
        work.graph()
        _check_same(work.results["plain"], work.results["graph"])
        say(f"the same to the bit; {options.rounds} rounds")
        costs: dict[str, list[_Cost]] = {"plain": [], "graph": []}

        def once(name: str, run: Callable[[], _Cost]) -> float:
            costs[name].append(run())
            say(f"{name}: {costs[name][-1].held_s / work.units:.3f} core-seconds per unit")
            return costs[name][-1].held_s

        in_turn(
            {
                "plain": lambda: once("plain", work.plain),
                "graph": lambda: once("graph", work.graph),
            },
            rounds=options.rounds,
            warmup=0,
        )
    return _report(costs, work.units, before)


class _Work:
    """The same units, actors and settings, to be run either way."""

    def __init__(self, plan: LabelPlan, config: GraphConfig, folder: Path) -> None:
        self._plan = plan
        self._config = config
        self._folder = folder
        self._graphs = 0
        self.units = config.units
        self.decode_rows = config.grain.decode_rows
        self.results: dict[str, pa.Table] = {}

    @classmethod
    def begin(cls, options: PipelineBenchmark, folder: Path, say: Callable[[str], None]) -> _Work:
        """Writes the manifest, and asks Ray what there is for the pools."""
        asked = LabelOptions(
            task="k400",
            source=str(_archive(options, folder, say)),
            output=str(folder / "run"),
            checkpoint=options.checkpoint,
            pruning=PruningFlags(r=options.r),
            views=options.views,
            early_exit=options.early_exit,
        )
        plan = plan_labeling(asked)
        start_ray()
        plan = with_precision(plan, asked)
        begin(plan, asked)
        total = pq.read_table(folder / "run" / "manifest", partitioning=None).num_rows
        pools = pools_for(asked, plan)
        runner = GraphRunner(plan, asked, pools, total, Stop(), note=lambda stages: None)
        config = runner.graph
        ray.shutdown()
        return cls(plan, config, folder)

    def about(self, options: PipelineBenchmark) -> dict[str, object]:
        """The settings, for the conditions."""
        pools, model = self._config.pools, self._plan.model
        return {
            "model": model.architecture,
            "gflops_per_view": model.flops_per_view / 1e9,
            "views_per_unit": self._plan.protocol.views,
            "units": self.units,
            "different_videos": options.videos,
            "rounds": options.rounds,
            "batch_size": self._config.batch_size,
            "precision": self._config.labeler.precision,
            "decoders": pools.decoders[1],
            "labelers": pools.labelers,
            "labeler_threads": pools.labeler_threads,
            **dataclasses.asdict(self._config.grain),
        }

    def plain(self) -> _Cost:
        """Decodes and labels one call's units after another, in this process."""
        config, rows = self._config, self._config.grain.label_rows
        manifest = pq.read_table(self._folder / "run" / "manifest", partitioning=None)
        limits = dataclasses.replace(config.limits, videos_per_child=self.units + 1)
        decoder = DecodeActor(config.protocol, config.decoder, limits, mode=config.decode_mode)
        labeler = LabelActor(config.labeler, config.protocol)
        # Ray's own threads in this process are no part of the loop.
        own_s = time.thread_time if config.labeler.threads == 1 else time.process_time

        def used_s() -> float:
            assert decoder.child_pid is not None
            return own_s() + process_cpu_s(decoder.child_pid)

        decode_s = label_s = 0.0
        done = []
        with closing(decoder):
            began = time.perf_counter()
            for at in range(0, len(manifest), rows):
                before = used_s()
                decoded = pa.concat_tables(decoder(manifest.slice(at, rows)))
                between = used_s()
                done.append(labeler(decoded))
                decode_s += between - before
                label_s += used_s() - between
            wall_s = time.perf_counter() - began
        self.results["plain"] = pa.concat_tables(done)
        cpu_s = decode_s + label_s
        return _Cost(cpu_s, cpu_s, wall_s, decode_s, label_s)

    def graph(self) -> _Cost:
        """Runs the graph of a labeling job on a run directory of its own, and, as a job does, in
        a Ray of its own: idle processes of earlier rounds would take their part of the cores.
        """
        start_ray()
        try:
            return self._graph()
        finally:
            ray.shutdown()

    def _graph(self) -> _Cost:
        self._graphs += 1
        root = Location.of(str(self._folder / f"graph-{self._graphs}"))
        run = RunDirectory(root)
        run.create(self._plan.run.load())
        # Start-up is not measured, so nothing is done before all actors are there.
        DataContext.get_current().wait_for_min_actors_s = _START_S
        line = ProgressLine(self.units, Counts(), out=io.StringIO())
        with cpu_recorded() as record, ray_messages_aside(), reporting(line, root.name) as report:
            run_graph(run, self._config, report, manifest=self._plan.run.manifest)
            stages = report.stages()
        began = stages.decode.began
        assert began is not None
        ended = max(os.stat(file.filesystem()[1]).st_mtime for file in run.checkpoint.files(""))
        cpu_s, idle_s, own_s = record.between(began, ended)
        self.results["graph"] = pq.read_table(run.units.filesystem()[1], partitioning=None)
        return _Cost(
            cpu_s + idle_s, cpu_s, ended - began, stages.decode.cpu_s, stages.label.cpu_s, own_s
        )


def _archive(options: PipelineBenchmark, folder: Path, say: Callable[[str], None]) -> Path:
    """A manifest in which each video stands as often as there are passes."""
    source = options.source
    if source is None:
        say(f"making {options.videos} videos")
        make_archive(folder / "videos", ArchiveSettings(videos=options.videos))
        source = str(folder / "videos" / MANIFEST)
    found = list(Listing(source).videos())[: options.videos]
    path = folder / "units.csv"
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["video_id", "uri"])
        for number in range(options.passes):
            rows.writerows([f"{video.video_id}-{number}", video.uri] for video in found)
    return path


def _check_same(plain: pa.Table, graph: pa.Table) -> None:
    """Raises OutputsDiffer unless all but the times is the same, to the bit."""
    one, other = _rows_by_id(plain), _rows_by_id(graph)
    if one.keys() != other.keys() or len(one) != len(graph):
        raise OutputsDiffer(f"{len(plain)} units in a plain loop and {len(graph)} through Ray")
    differing = [unit for unit in one if one[unit] != other[unit]]
    if differing:
        raise OutputsDiffer(
            f"{len(differing)} of {len(one)} units differ between the plain loop and Ray, such as "
            f"{differing[0]}"
        )


def _rows_by_id(table: pa.Table) -> dict[str, dict[str, object]]:
    rows = table.drop_columns(list(_TIMES)).to_pylist()
    for row in rows:
        for view in row["views"] or ():
            del view["device_ms"]
    return {row["unit_id"]: row for row in rows}


_COLUMNS = (
    Column("way", "way", "how the units were labeled"),
    Column(
        "held",
        "core-s/unit",
        "core-seconds per unit: of a plain loop, the CPU time that it takes; through Ray, all "
        "cores for as long as it runs after start-up, but for what other programs took of them",
        ".3f",
    ),
    Column("ratio", "x plain", "core-seconds over the plain loop's, round by round", ".3f"),
    Column("cpu", "CPU-s/unit", "CPU time of all processes per unit", ".3f"),
    Column("cpu_ratio", "x plain", "CPU time over the plain loop's, round by round", ".3f"),
    Column("decode", "decoders", "of that the decoders and their children", ".3f"),
    Column("label", "labelers", "of that the labelers", ".3f"),
    Column("rest", "rest", "of that everything else, such as Ray's own processes", ".3f"),
    Column("wall", "s/unit", "wall clock after start-up, per unit", ".3f"),
)


def _report(costs: dict[str, list[_Cost]], units: int, before: dict[str, Any]) -> Report:
    rows = [
        _row("plain loop", costs["plain"], costs["plain"], units),
        _row("through Ray", costs["graph"], costs["plain"], units),
    ]
    threads = before["labeler_threads"]
    of_threads = "" if threads is None else f" of {counted(threads, 'threads')}"
    return Report(
        part="pipeline",
        title="The graph through Ray Data against the same actors in a plain loop (same labels, "
        "scores and maps to the bit)",
        columns=_COLUMNS,
        rows=rows,
        conditions=before,
        chart=Chart(
            bar="ratio", axis="core-seconds over a plain loop's", labels=("way",), limit=_GOAL
        ),
        notes=[
            f"{counted(units, 'units')} of {counted(before['views_per_unit'], 'views')}, "
            f"{counted(before['cores'], 'cores')}, {counted(before['decoders'], 'decoders')}, "
            f"{counted(before['labelers'], 'labelers')}{of_threads}, "
            f"batches of {before['batch_size']}; "
            f"median (quartiles) of {counted(before['rounds'], 'rounds')} in turn.",
        ],
    )


def _row(way: str, own: list[_Cost], plain: list[_Cost], units: int) -> Row:
    def per_unit(values: list[float]) -> Spread:
        return Spread.of([value / units for value in values])

    return {
        "way": way,
        "held": per_unit([cost.held_s for cost in own]),
        "ratio": ratio([cost.held_s for cost in own], [cost.held_s for cost in plain]),
        "cpu": per_unit([cost.cpu_s for cost in own]),
        "cpu_ratio": ratio([cost.cpu_s for cost in own], [cost.cpu_s for cost in plain]),
        "decode": per_unit([cost.decode_s for cost in own]),
        "label": per_unit([cost.label_s for cost in own]),
        "rest": per_unit([cost.cpu_s - cost.decode_s - cost.label_s for cost in own]),
        "wall": per_unit([cost.wall_s for cost in own]),
    }
