"""Labels the same videos in several ways in one process, and tells what each takes.

Decoders and labelers are those of a run. They work in turn without Ray, so that what is counted is
CPU time and no waiting.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pyarrow as pa

import sta
from pipeline.lab.benchmark.core_seconds import process_cpu_s
from pipeline.lab.benchmark.paired import OutputsDiffer, in_turn
from workers.decode_actor import DecodeActor, FirstClips
from workers.decoding import DECODE_MODES, DECODERS, DecodeLimits
from workers.further_clips import LocalFurtherClips
from workers.inference.early_exit import EarlyExit
from workers.inference.labeler import LabelerConfig
from workers.label_actor import LabelActor
from workers.precisions import Precision
from workers.sampling import Protocol

# Largest difference of a score between a view among all and the same view with early exit, which
# lies in another batch.
_SCORE_DIFFERENCE = 0.03


# Of each video in a call of a labeler with early exit: a call of a run holds many more videos than
# are measured here, and its batches are fuller.
COPIES = 4


@dataclass(frozen=True)
class Way:
    """One way to label a video: settings of its decoder and its labeler."""

    name: str
    pruning: sta.Pruning
    precision: Precision
    decoder: str = DECODERS[0]
    mode: str = DECODE_MODES[0]
    early_exit: EarlyExit | None = None


@dataclass(frozen=True)
class Cost:
    """What labeling some videos took, all of them together.

    Attributes:
        decode_s: CPU seconds of the decoder and its child.
        label_s: CPU seconds of the labeler.
        device_s: seconds of the GPU; 0 where the model runs on a CPU.
    """

    decode_s: float
    label_s: float
    device_s: float

    @property
    def core_s(self) -> float:
        """CPU seconds of both."""
        return self.decode_s + self.label_s


class _TimedFurtherClips(LocalFurtherClips):
    """Decodes further clips of a video once for all its copies, and counts the CPU time of this
    process that this takes.
    """

    def __init__(self, actor: DecodeActor) -> None:
        super().__init__(actor)
        self.actor = actor
        self.own_s = 0.0
        self._decoded: dict[tuple[str, tuple[int, ...]], pa.Table] = {}

    def request(self, row: Mapping[str, Any], clips: tuple[int, ...]) -> Future[pa.Table]:
        began = time.process_time()
        key = row["video_id"], clips
        if key not in self._decoded:
            self._decoded[key] = super().request(row, clips).result()
        answer: Future[pa.Table] = Future()
        answer.set_result(_named(self._decoded[key], row["unit_id"]))
        self.own_s += time.process_time() - began
        return answer

    def forget(self) -> None:
        """Decodes all clips anew from now on."""
        self._decoded.clear()


def _named(row: pa.Table, unit_id: str) -> pa.Table:
    at = row.schema.get_field_index("unit_id")
    return row.set_column(at, row.schema.field(at), pa.array([unit_id]))


class _Chain:
    """A decoder and a labeler that work in turn in this process."""

    def __init__(self, way: Way, labeler: LabelerConfig, protocol: Protocol) -> None:
        # No child is replaced: the time to start one belongs to no video.
        limits = DecodeLimits(videos_per_child=1_000_000)
        first = further = None
        if way.early_exit is not None:
            looks = protocol.looks(way.early_exit.max_views)
            first = FirstClips(looks[0])
        decode = partial(DecodeActor, protocol, way.decoder, limits, mode=way.mode)
        self._decoder = decode(first=first)
        if first is not None:
            further = _TimedFurtherClips(decode())
        self._further = further
        self._copies = 1 if first is None else COPIES
        config = replace(labeler, pruning=way.pruning, precision=way.precision)
        self._labeler = LabelActor(config, protocol, early_exit=way.early_exit, further=further)
        self._on_gpu = labeler.device == "cuda"

    def run(self, manifest: pa.Table) -> tuple[pa.Table, Cost]:
        """Labels the videos of a manifest, and tells what that took for one copy of each."""
        if self._further is not None:
            self._further.forget()
        children_s, began = self._children_s(), time.process_time()
        further_s = 0.0 if self._further is None else self._further.own_s
        decoded = list(self._decoder(manifest))
        between = time.process_time()
        copies = [
            _named(row, f"{number}-{row['unit_id'][0].as_py()}")
            for number in range(self._copies)
            for row in decoded
        ]
        labeled = self._labeler(pa.concat_tables(copies))
        ended = time.process_time()
        if self._further is not None:
            further_s = self._further.own_s - further_s
        device_ms = sum(labeled["device_ms"].to_pylist()) if self._on_gpu else 0.0
        return labeled.slice(0, len(manifest)), Cost(
            decode_s=self._children_s() - children_s + between - began + further_s,
            label_s=(ended - between - further_s) / self._copies,
            device_s=device_ms / 1e3 / self._copies,
        )

    def _children_s(self) -> float:
        actors = [self._decoder, *([] if self._further is None else [self._further.actor])]
        return sum(process_cpu_s(actor.child_pid) for actor in actors if actor.child_pid)

    def close(self) -> None:
        self._decoder.close()
        if self._further is not None:
            self._further.actor.close()


class Chains:
    """A decoder and a labeler for each way, for the same videos.

    Args:
        ways: the ways.
        labeler: configuration of the labelers, but for what a way says.
        protocol: how videos become views.
    """

    def __init__(self, ways: Sequence[Way], labeler: LabelerConfig, protocol: Protocol) -> None:
        self._ways = ways
        self._open = ExitStack()
        self._chains = {
            way.name: self._open.enter_context(closing(_Chain(way, labeler, protocol)))
            for way in ways
        }

    def close(self) -> None:
        """Ends the decoders."""
        self._open.close()

    def checked(self, manifest: pa.Table) -> dict[str, pa.Table]:
        """The rows of each way, after comparing them."""
        tables = {name: chain.run(manifest)[0] for name, chain in self._chains.items()}
        for name, table in tables.items():
            for row in table.to_pylist():
                if row["status"] != "ok":
                    raise OutputsDiffer(f"{name}: {row['uri']} failed: {row['error']}")
        whole = {way.mode: tables[way.name] for way in self._ways[1:] if way.early_exit is None}
        for way in self._ways:
            if way.early_exit is not None:
                check_views(way.name, tables[way.name], whole[way.mode])
        return tables

    def timed(self, manifest: pa.Table, rounds: int) -> dict[str, list[Cost]]:
        """What each way costs in each round, per video."""
        costs: dict[str, list[Cost]] = {name: [] for name in self._chains}

        def run(name: str, chain: _Chain) -> float:
            _, cost = chain.run(manifest)
            count = len(manifest)
            costs[name].append(
                Cost(cost.decode_s / count, cost.label_s / count, cost.device_s / count)
            )
            return cost.core_s

        runs = {name: partial(run, name, chain) for name, chain in self._chains.items()}
        in_turn(runs, rounds=rounds, warmup=0)
        return costs


def check_views(name: str, table: pa.Table, whole: pa.Table) -> None:
    """Raises OutputsDiffer where a view of `table` has another score in `whole`."""
    expected = {
        (row["unit_id"], view["clip"], view["crop"]): view["score"]
        for row in whole.to_pylist()
        for view in row["views"]
    }
    for row in table.to_pylist():
        for view in row["views"]:
            score = expected[row["unit_id"], view["clip"], view["crop"]]
            if not abs(view["score"] - score) <= _SCORE_DIFFERENCE:
                raise OutputsDiffer(
                    f"{name}: {row['video_id']}, clip {view['clip']}, crop {view['crop']} has the "
                    f"score {view['score']:.3f}; among all views it has {score:.3f}"
                )
