"""What Ray Data itself costs: the graph with decoding and the model replaced by sleeps.

    python -m tests.scale.graph_rows
    python -m tests.scale.graph_rows --units 1500 --frames-mb 12
    python -m tests.scale.graph_rows --decoders 40 --decode-s 0.4
    python -m tests.scale.graph_rows --drivers 4 --decoders 4 --labelers 4
    python -m tests.scale.graph_rows --rounds 2 --units 2000    # with Ray Data's own budgets, too

Manifest, blocks, actors, commits and progress are the pipeline's own. Prints the CPU time per unit
of each process that more machines do not relieve, and how many units per second the processes of a
kind pass if each has a core: `--drivers N` divides the drivers' part by N. Start and end of the run
are left out: it counts from a tenth of the units on, to nine tenths.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import io
import math
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar
from unittest.mock import patch

import pyarrow as pa
import ray
from ray.data import DataContext

from pipeline.execution import budget_updates
from pipeline.execution.block_size import Grain
from pipeline.execution.drivers import run_drivers
from pipeline.execution.file_history import SharedHistory
from pipeline.execution.graph import GraphConfig
from pipeline.execution.pools import OVERHEAD_CPUS, plan_pools
from pipeline.execution.progress import ProgressLine, reporting
from pipeline.execution.ray_session import ray_messages_aside, start_ray
from pipeline.execution.stage_stats import Stages
from pipeline.inputs.manifest import count_rows, write_manifest
from pipeline.inputs.video import Video
from pipeline.lab.benchmark.core_seconds import CpuRecord, process_cpu_s
from pipeline.run.counts import Counts
from pipeline.run.run_directory import RunDirectory
from pipeline.storage.location import Location
from tests.processes import descendants
from tests.run_records import run_record
from workers.actor_stats import DECODE, LABEL, ActorTotals, StageName, timed
from workers.decoding import DecodeLimits
from workers.file_history import FileCost, Files
from workers.inference.labeler import LabelerConfig
from workers.label_actor import Progress
from workers.sampling import Protocol
from workers.schema import DECODED_SCHEMA, IDENTITY, UNITS_SCHEMA

_PROTOCOL = Protocol("videomae-k400", clips=5, crops=3)
_GRIDS = [[8, 14, 14]] * 3
_SAME = [field.name for field in IDENTITY if field.name != "ground_truth"]


class SleepingDecoder:
    """Takes so long for a unit and hands over so many bytes; `how` is "SECONDS BYTES"."""

    stage: ClassVar[StageName] = DECODE
    device = ""
    missing: tuple[str, ...] = ()
    totals = ActorTotals()

    def __init__(self, protocol: Protocol, how: str, *_: Any, files: Files, **__: Any) -> None:
        seconds, size = how.split()
        self._seconds, self._frames = float(seconds), bytes(int(size))
        self._files = files

    def __call__(self, manifest: pa.Table) -> Iterator[pa.Table]:
        for entry in manifest.select(_SAME).to_pylist():
            self._files.begin(entry["unit_id"], entry["uri"])
            time.sleep(self._seconds)
            self._files.end(entry["unit_id"], entry["uri"], FileCost())
            row = entry | {"status": "ok", "frames": self._frames}
            yield pa.Table.from_pylist([row], schema=DECODED_SCHEMA)


class SleepingLabeler:
    """Takes `how.checkpoint` seconds for a unit and gives a row as large as a real one."""

    stage: ClassVar[StageName] = LABEL
    device = "none"
    missing: tuple[str, ...] = ()
    totals = ActorTotals()

    def __init__(
        self, how: LabelerConfig, protocol: Protocol, progress: Progress, **_: Any
    ) -> None:
        self._seconds, self._progress = float(how.checkpoint), progress
        maps = [os.urandom(math.prod(grid) // 8) for grid in _GRIDS]
        view = {"clip": 0, "crop": 0, "flops": 1, "tokens_kept": [1] * 3, "kept_token_maps": maps}
        row = {"status": "ok", "label": "a", "label_id": 0, "scores": [0.0] * 400}
        row |= dict.fromkeys(("unit_id", "video_id", "uri"), "")
        self._row = pa.Table.from_pylist([row | {"views": [view] * protocol.views}], UNITS_SCHEMA)

    def __call__(self, decoded: pa.Table) -> pa.Table:
        time.sleep(self._seconds * len(decoded))
        table = pa.concat_tables([self._row] * len(decoded))
        for name in _SAME:
            place = UNITS_SCHEMA.get_field_index(name)
            table = table.set_column(place, UNITS_SCHEMA.field(place), decoded[name])
        self._progress(table)
        return table


@dataclass(frozen=True)
class Config(GraphConfig):
    """A graph of sleeping actors; its blocks may be told their rows, None for a real run's."""

    block_rows: int | None = None

    @property
    def actors(self) -> tuple[type, type]:
        return timed(SleepingDecoder), timed(SleepingLabeler)

    @property
    def grain(self) -> Grain:
        usual, rows = super().grain, self.block_rows
        return usual if rows is None else Grain(rows, max(1, usual.label_rows // rows) * rows)


# Processes that do something for every unit of a run, and that more machines do not relieve.
_KINDS = {
    "ray::GraphDriver": "driver",
    "ray::FileHistory": "file history",
    "ray::Tally": "tally",
    "gcs_server": "GCS",
}


@dataclass
class Samples:
    """Samples of a run, about one a second: (time, units, CPU seconds by process id)."""

    units: int
    drivers: int
    everything: CpuRecord = field(default_factory=CpuRecord)
    kinds: dict[int, str] = field(default_factory=dict)
    samples: list[tuple[float, int, dict[int, float]]] = field(default_factory=list)

    def __call__(self, counts: Counts, stages: Stages) -> None:
        if 0.1 * self.units <= counts.units <= 0.9 * self.units:
            self.everything.sample()
            self.kinds = self.kinds or self._found()
            used = {}
            for pid in self.kinds:
                with contextlib.suppress(OSError):
                    used[pid] = process_cpu_s(pid)
            self.samples.append((time.time(), counts.units, used))

    def text(self, grain: Grain, files: int) -> str:
        """For people; `files` are those of the whole run."""
        (began, before, used_before), (ended, after, used) = self.samples[0], self.samples[-1]
        units, seconds = after - before, ended - began
        used_s, _, _ = self.everything.between(began, ended)
        lines = [
            f"{units:,} units in {seconds:.1f} s: {units / seconds:,.0f} units/s and "
            f"{files * units / self.units / seconds:.2g} files/s; blocks of {grain.decode_rows}, "
            f"calls of {grain.label_rows}; CPU time of all processes "
            f"{1e3 * used_s / units:.1f} ms per unit, {used_s / seconds:.2f} cores"
        ]
        # Those of a run before this one may just have ended.
        alive = {pid: self.kinds[pid] for pid in used_before.keys() & used.keys()}
        for kind in sorted(set(alive.values())):
            each = [used[pid] - used_before[pid] for pid, name in alive.items() if name == kind]
            per_unit = sum(each) / units
            lines.append(
                f"{kind:<13}{len(each):>3} process(es) {1e3 * per_unit:>6.2f} ms per unit "
                f"{1e3 * per_unit * grain.decode_rows:>6.2f} ms per block, at most "
                f"{len(each) / per_unit:>8,.0f} units/s"
            )
        return "\n".join(lines)

    def _found(self) -> dict[int, str]:
        """The kind of each process that serves the whole run."""
        kinds = {os.getpid(): "driver" if self.drivers == 1 else "command"}
        for pid, line in descendants(os.getpid()).items():
            for sign, kind in _KINDS.items():
                if sign in line.partition(" ")[0]:
                    kinds[pid] = kind
        return kinds


def parser() -> argparse.ArgumentParser:
    """The flags."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--units", type=int, default=10_000)
    parser.add_argument("--decode-s", type=float, default=0.0, help="a decoder's sleep per unit")
    parser.add_argument("--label-s", type=float, default=0.0, help="a labeler's sleep per unit")
    parser.add_argument("--frames-mb", type=float, default=0.0, help="decoded frames per unit")
    parser.add_argument("--decoders", type=int, default=2)
    parser.add_argument("--labelers", type=int, default=1)
    parser.add_argument("--drivers", type=int, default=1)
    parser.add_argument(
        "--rounds",
        type=int,
        default=0,
        help="so often in turn, with one driver: with the budgets of Ray Data computed at every "
        "step, as it does by itself, and now and then, as here",
    )
    parser.add_argument("--block-rows", type=int, help="units per block (default: as planned)")
    parser.add_argument(
        "--of", type=int, default=5_000_000, help="with blocks and files as of a run of so many"
    )
    return parser


def main() -> None:
    """Runs the graph once and prints its rates."""
    arguments = parser().parse_args()
    drivers = arguments.drivers
    # A core for each actor, since these only sleep.
    start_ray(cores=drivers * int(OVERHEAD_CPUS) + arguments.decoders + arguments.labelers)
    try:
        for _ in range(arguments.rounds):
            with patch.object(budget_updates, "SECONDS", 0.0):
                print("budgets at every step:", _measured(arguments), flush=True)
            print("budgets now and then:", _measured(arguments), flush=True)
        if not arguments.rounds:
            print(_measured(arguments))
    finally:
        ray.shutdown()


def make_run(run: RunDirectory, units: int) -> None:
    """Writes the manifest and run.json of a run of so many units that do not exist."""
    videos = (Video(f"v{number:09d}", f"/nowhere/{number}.mp4", 1) for number in range(units))
    write_manifest(videos, run.manifest)
    run.save(run_record({"identity": {}, "model": {"kept_grids": _GRIDS}}))


def _measured(arguments: argparse.Namespace) -> str:
    """What one run cost."""
    with tempfile.TemporaryDirectory(prefix="graph-rows-") as folder:
        run, units, drivers = RunDirectory(Location.of(folder)), arguments.units, arguments.drivers
        make_run(run, units)
        config, samples = config_of(arguments), Samples(units, drivers)
        config = dataclasses.replace(config, files=SharedHistory.start(drivers=drivers))
        # What starts late is not the graph's cost.
        DataContext.get_current().wait_for_min_actors_s = 300
        line = ProgressLine(units, Counts(), out=io.StringIO())
        with (
            ray_messages_aside(),
            reporting(line, "graph-rows", samples, drivers=drivers) as report,
        ):
            run_drivers(run, config, report)
        if count_rows(run.units) != units:
            raise SystemExit(f"{count_rows(run.units):,} rows of {units:,} units")
        if len(samples.samples) < 3:
            raise SystemExit("too short to be measured; try more --units")
        return samples.text(config.grain, len(run.units.files(".parquet")))


def config_of(arguments: argparse.Namespace) -> Config:
    """The graph that the flags ask for."""
    actors = arguments.decoders + arguments.labelers
    return Config(
        protocol=_PROTOCOL,
        decoder=f"{arguments.decode_s} {int(1e6 * arguments.frames_mb)}",
        limits=DecodeLimits(),
        labeler=LabelerConfig(str(arguments.label_s), batch_size=32),
        pools=plan_pools(
            cpus=arguments.drivers * OVERHEAD_CPUS + actors,
            gpus=0.0,
            decoders=(arguments.decoders,) * 2,
            labelers=arguments.labelers,
            drivers=arguments.drivers,
        ),
        units=arguments.of,
        block_rows=arguments.block_rows,
    )


if __name__ == "__main__":
    main()
