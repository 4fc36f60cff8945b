"""What Ray Data itself costs: the graph with decoding and the model replaced by sleeps.

    python -m tests.scale.graph_rows
    python -m tests.scale.graph_rows --units 1500 --frames-mb 12
    python -m tests.scale.graph_rows --decoders 40 --decode-s 0.4

Manifest, blocks, actors, commits and progress are the pipeline's own. Prints units per second, the
CPU time of the driver (which more machines do not reduce), and that of all processes. Start and end
of the run are left out: it counts from a tenth of the units on.
"""

from __future__ import annotations

import argparse
import io
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import pyarrow as pa
import ray
from ray.data import DataContext

import pipeline.execution.graph
from pipeline.execution.block_size import Grain
from pipeline.execution.graph import GraphConfig, run_graph
from pipeline.execution.pools import OVERHEAD_CPUS, plan_pools
from pipeline.execution.progress import ProgressLine, reporting
from pipeline.execution.ray_session import ray_messages_aside, start_ray
from pipeline.inputs.manifest import count_rows, write_manifest
from pipeline.inputs.video import Video
from pipeline.lab.benchmark.core_seconds import CpuRecord
from pipeline.run.counts import Counts
from pipeline.run.run_directory import RunDirectory
from pipeline.storage.location import Location
from tests.run_records import run_record
from workers.actor_stats import DECODE, LABEL, Clock, Listener
from workers.decoding import DecodeLimits
from workers.inference.labeler import LabelerConfig
from workers.label_actor import Progress
from workers.sampling import Protocol
from workers.schema import DECODED_SCHEMA, IDENTITY, UNITS_SCHEMA

_PROTOCOL = Protocol("videomae-k400", clips=5, crops=3)
_GRIDS = [[8, 196]] * 3
_SAME = [field.name for field in IDENTITY if field.name != "ground_truth"]


class SleepingDecoder:
    """Takes so long for a unit and hands over so many bytes; `how` is "SECONDS BYTES"."""

    def __init__(
        self, listener: Listener, protocol: Protocol, how: str, *_: Any, **__: Any
    ) -> None:
        seconds, size = how.split()
        self._seconds, self._frames = float(seconds), bytes(int(size))
        self._clock = Clock(DECODE, listener)

    def __call__(self, manifest: pa.Table) -> Iterator[pa.Table]:
        for entry in manifest.select(_SAME).to_pylist():
            began = time.time()
            time.sleep(self._seconds)
            row = entry | {"status": "ok", "frames": self._frames}
            self._clock.add(began, 1)
            yield pa.Table.from_pylist([row], schema=DECODED_SCHEMA)
        self._clock.report()


class SleepingLabeler:
    """Takes `how.checkpoint` seconds for a unit and gives a row as large as a real one."""

    def __init__(
        self,
        listener: Listener,
        how: LabelerConfig,
        protocol: Protocol,
        progress: Progress,
        **_: Any,
    ) -> None:
        self._seconds, self._progress = float(how.checkpoint), progress
        self._clock = Clock(LABEL, listener)
        maps = [os.urandom(rows * columns // 8) for rows, columns in _GRIDS]
        view = {"clip": 0, "crop": 0, "flops": 1, "tokens_kept": [1] * 3, "kept_token_maps": maps}
        row = {"status": "ok", "label": "a", "label_id": 0, "scores": [0.0] * 400}
        row |= dict.fromkeys(("unit_id", "video_id", "uri"), "")
        self._row = pa.Table.from_pylist([row | {"views": [view] * protocol.views}], UNITS_SCHEMA)

    def __call__(self, decoded: pa.Table) -> pa.Table:
        began = time.time()
        time.sleep(self._seconds * len(decoded))
        table = pa.concat_tables([self._row] * len(decoded))
        for name in _SAME:
            place = UNITS_SCHEMA.get_field_index(name)
            table = table.set_column(place, UNITS_SCHEMA.field(place), decoded[name])
        self._clock.add(began, len(table))
        self._clock.report()
        self._progress(table)
        return table


@dataclass(frozen=True)
class Config(GraphConfig):
    """A graph whose blocks may be told their rows; None for those of a real run."""

    block_rows: int | None = None

    @property
    def grain(self) -> Grain:
        usual, rows = super().grain, self.block_rows
        return usual if rows is None else Grain(rows, max(1, usual.label_rows // rows) * rows)


@dataclass
class Samples:
    """Samples of a run, about one a second: (time, units, CPU seconds of the driver)."""

    units: int
    everything: CpuRecord = field(default_factory=CpuRecord)
    samples: list[tuple[float, int, float]] = field(default_factory=list)

    def __call__(self, counts: Counts) -> None:
        if counts.units >= 0.1 * self.units:
            self.everything.sample()
            self.samples.append((time.time(), counts.units, time.process_time()))

    def line(self, grain: Grain, files: int) -> str:
        """For people; `files` are those of the whole run."""
        (began, before, driver_before), (ended, after, driver) = self.samples[0], self.samples[-1]
        units, seconds = after - before, ended - began
        driver_s = driver - driver_before
        used_s, _ = self.everything.between(began, ended)
        return (
            f"{units:,} units in {seconds:.1f} s: {units / seconds:,.0f} units/s and "
            f"{files * units / self.units / seconds:.2g} files/s; CPU time of the "
            f"driver {1e3 * driver_s / units:.2f} ms per unit, "
            f"{1e3 * driver_s * grain.decode_rows / units:.2f} per block of {grain.decode_rows}, "
            f"{driver_s / seconds:.2f} of a core; of all processes "
            f"{1e3 * used_s / units:.1f} ms per unit, {used_s / seconds:.2f} cores"
        )


def main() -> None:
    """Runs the graph once and prints its rates."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--units", type=int, default=10_000)
    parser.add_argument("--decode-s", type=float, default=0.0, help="a decoder's sleep per unit")
    parser.add_argument("--label-s", type=float, default=0.0, help="a labeler's sleep per unit")
    parser.add_argument("--frames-mb", type=float, default=0.0, help="decoded frames per unit")
    parser.add_argument("--decoders", type=int, default=2)
    parser.add_argument("--labelers", type=int, default=1)
    parser.add_argument("--block-rows", type=int, help="units per block (default: as planned)")
    parser.add_argument(
        "--of", type=int, default=5_000_000, help="with blocks and files as of a run of so many"
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="graph-rows-") as folder:
        print(_measured(arguments, RunDirectory(Location.of(folder))))


def _measured(arguments: argparse.Namespace, run: RunDirectory) -> str:
    units = arguments.units
    videos = (Video(f"v{number:09d}", f"/nowhere/{number}.mp4", 1) for number in range(units))
    write_manifest(videos, run.manifest)
    run.save(run_record({"identity": {}, "model": {"kept_grids": _GRIDS}}))
    asleep: dict[str, Any] = {
        "TimedDecodeActor": SleepingDecoder,
        "TimedLabelActor": SleepingLabeler,
    }
    config, samples = _config(arguments), Samples(units)
    # A core for each actor, since these only sleep.
    start_ray(cores=int(OVERHEAD_CPUS) + arguments.decoders + arguments.labelers)
    try:
        # What starts late is not the graph's cost.
        DataContext.get_current().wait_for_min_actors_s = 300
        line = ProgressLine(units, Counts(), out=io.StringIO())
        with (
            patch.multiple(pipeline.execution.graph, **asleep),
            ray_messages_aside(),
            reporting(line, "graph-rows", samples) as report,
        ):
            run_graph(run, config, report)
    finally:
        ray.shutdown()
    if count_rows(run.units) != units:
        raise SystemExit(f"{count_rows(run.units):,} rows of {units:,} units")
    if len(samples.samples) < 3:
        raise SystemExit("too short to be measured; try more --units")
    return samples.line(config.grain, len(run.units.files(".parquet")))


def _config(arguments: argparse.Namespace) -> Config:
    actors = arguments.decoders + arguments.labelers
    return Config(
        protocol=_PROTOCOL,
        decoder=f"{arguments.decode_s} {int(1e6 * arguments.frames_mb)}",
        limits=DecodeLimits(),
        labeler=LabelerConfig(str(arguments.label_s), batch_size=32),
        pools=plan_pools(
            cpus=OVERHEAD_CPUS + actors,
            gpus=0.0,
            decoders=(arguments.decoders,) * 2,
            labelers=arguments.labelers,
        ),
        units=arguments.of,
        block_rows=arguments.block_rows,
    )


if __name__ == "__main__":
    main()
