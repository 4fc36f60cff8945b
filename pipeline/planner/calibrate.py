"""Measures rates: decodes and labels a sample of the input on this machine for about a minute."""

from __future__ import annotations

import dataclasses
import math
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

import sta
from pipeline.early_exit import EarlyExitFile
from pipeline.errors import RunError
from pipeline.execution.graph import GraphConfig
from pipeline.execution.pools import Pools
from pipeline.labeling.options import LabelOptions
from pipeline.labeling.plan import LabelPlan
from pipeline.planner.labeler_timing import LabelerTiming, time_labelers
from pipeline.planner.local_pools import graph_rule, pools_of, ray_memory
from pipeline.planner.rates import (
    EARLY_EXIT,
    PRUNED,
    UNPRUNED,
    LabelingRate,
    Machine,
    MeasuredRates,
    Workload,
)
from pipeline.planner.sample import Decoding, ListedInput, Sampled, decode_sample, listed, work_of
from pipeline.planner.unit_costs import Floats
from workers.device_names import DeviceKind
from workers.devices import has_unusable_gpu, why_no_cuda
from workers.machine import cpu_model, usable_cores
from workers.precisions import fast_precision

# Standard errors by which the views of a sample may differ from those of the calibration.
_ERRORS = 4.0

# Units of which the frames are kept; larger calls label some of them several times.
_MAX_FRAMES = 32


@dataclass(frozen=True)
class PlanCalibration:
    """Result of a calibration.

    Attributes:
        rates: of the archive, the model and this machine.
        work: what the input holds.
        listing_s: seconds of listing the input.
    """

    rates: MeasuredRates
    work: Workload
    listing_s: float


def calibrate(
    plan: LabelPlan,
    options: LabelOptions,
    *,
    seconds: float,
    say: Callable[[str], None],
) -> PlanCalibration:
    """Decodes and labels a sample as the run would, pruned and unpruned.

    Args:
        plan: of the run.
        options: of the run.
        seconds: for decoding and labeling together; start-up comes on top.
        say: prints a line of progress.

    Raises:
        UsageError: there is no video.
        RunError: the GPU cannot be used, none of the sample could be decoded, or labeling could
            not be measured.
    """
    machine = this_machine()
    say(f"Calibrating: listing {options.source}.")
    found = listed(options, plan.earlier)
    ways = _ways(plan)
    decodings = list(dict.fromkeys(way.decoding for way in ways))
    share = seconds / (len(decodings) + len(ways))
    pools = pools_of(plan, options, machine, found.count)
    graph_of = graph_rule(plan.protocol, options.batch_size, found.count, on_gpu=machine.gpus > 0)
    graphs = {
        adaptive: graph_of(pools.decoders[1], pools.labelers, adaptive)
        for adaptive in {way.file is not None for way in ways}
    }
    keep = min(max(graph.grain.label_rows for graph in graphs.values()), _MAX_FRAMES)
    sampled = {}
    for decoding in decodings:
        say(
            f"Calibrating: decoding a sample of {found.count:,} videos {decoding.words}for "
            f"{share:.0f} s, or until one is decoded."
        )
        sampled[decoding] = decode_sample(found, options, plan, decoding, seconds=share, keep=keep)
    reference = sampled[ways[-1].decoding]
    assert reference.frames is not None
    timer = _Timer(plan, pools, reference.frames, graphs, share, say)
    measured = [timer.of(way) for way in ways]
    labelings = tuple(
        _labeling(way, done, sampled[way.decoding], on_gpu=machine.gpus > 0)
        for way, done in zip(ways, measured, strict=True)
    )
    for way in ways:
        views = sampled[way.decoding].views
        if way.file is not None and not views_are_alike(way.file, views):
            say(
                f"Calibrating: these videos take {views.mean():.3g} views, and those of the "
                f"early-exit file took {way.file.point.views:.3g}. Fit one on videos like these "
                f"with jobs/calibrate.py."
            )
    rates = MeasuredRates(
        labelings=labelings,
        unpruned_s=labelings[-1].unit_s,
        threads=pools.labeler_threads,
        machine=dataclasses.replace(machine, cores_left=_cores_left(machine, pools, measured)),
        started_s=float(np.mean([done.imported_s for done in measured])),
        known_from=_known_from(found, sampled.values(), measured),
    )
    return PlanCalibration(rates, work_of(found, reference), found.seconds)


@dataclass(frozen=True)
class _Way:
    """A way of labeling that is measured.

    Attributes:
        name: PRUNED, UNPRUNED or EARLY_EXIT.
        pruning: of the model.
        decoding: how frames are decoded.
        file: the early-exit file; None for all views of each unit.
    """

    name: str
    pruning: sta.Pruning
    decoding: Decoding
    file: EarlyExitFile | None = None

    @property
    def words(self) -> str:
        """For a line of progress."""
        return f"with {self.name}" if self.file is not None else self.name


def _ways(plan: LabelPlan) -> list[_Way]:
    """What is asked for first, and unpruned labeling by all views, decoded exactly, last."""
    pruning, file = plan.labeler.pruning, plan.early_exit_file
    mine = Decoding(plan.identity.decode, early_exit=file is not None)
    exact = Decoding()
    unpruned = _Way(UNPRUNED, sta.Pruning(r=0), exact)
    if file is not None:
        stopping = _Way(EARLY_EXIT, pruning, mine, file)
        all_views = [_Way(PRUNED, pruning, exact)] if pruning.r else []
        return [stopping, *all_views, unpruned]
    if pruning.r:
        return [_Way(PRUNED, pruning, mine), unpruned]
    return [dataclasses.replace(unpruned, decoding=mine)]


@dataclass(frozen=True)
class _Timer:
    """Times labelers on the decoded frames; `graphs`: of a run, by whether views stop early."""

    plan: LabelPlan
    pools: Pools
    frames: pa.Table
    graphs: Mapping[bool, GraphConfig]
    seconds: float
    say: Callable[[str], None]

    def of(self, way: _Way) -> LabelerTiming:
        """Times all labelers of the machine on CPUs, a single one on GPUs, which share nothing."""
        labelers = 1 if self.pools.labeler_gpus else self.pools.labelers
        some = f"{labelers} labelers" if labelers > 1 else "one labeler"
        self.say(
            f"Calibrating: starting {some} and loading the model, then labeling {way.words} for "
            f"{self.seconds:.0f} s, or one call if that takes longer."
        )
        graph = self.graphs[way.file is not None]
        threads = self.pools.labeler_threads
        kind: DeviceKind = "cuda" if self.pools.labeler_gpus else "cpu"
        precision = self.plan.identity.precision or fast_precision(kind)
        config = dataclasses.replace(
            self.plan.labeler,
            pruning=way.pruning,
            threads=threads,
            precision=precision,
            batch_size=graph.batch_size,
        )
        with tempfile.TemporaryDirectory(prefix="plan-") as folder:
            return time_labelers(
                config,
                self.plan.protocol,
                self.frames,
                Path(folder),
                labelers=labelers,
                rows=graph.grain.label_rows,
                seconds=self.seconds,
                early_exit=None if way.file is None else way.file.early_exit,
            )


def this_machine() -> Machine:
    """The machine that this process runs on.

    Raises:
        RunError: it has a GPU that torch cannot use, and a plan for its CPUs would mislead.
    """
    if has_unusable_gpu():
        raise RunError(f"this machine has a GPU that torch cannot use: {why_no_cuda()}")
    cpus = usable_cores()
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    name = torch.cuda.get_device_name() if gpus else cpu_model()
    return Machine(name=name, cpus=cpus, cores_left=cpus, memory=ray_memory(), gpus=gpus)


def _labeling(way: _Way, timed: LabelerTiming, sampled: Sampled, *, on_gpu: bool) -> LabelingRate:
    """The rate of a way of labeling, by the time of a view and the views of a unit."""
    used = timed.wall_s if on_gpu else timed.cpu_s
    views, shares = timed.views / timed.units, None
    if way.file is not None:
        views = expected_views(way.file, sampled.views)
        shares = sampled.views / sampled.views.mean()
    return LabelingRate(
        name=way.name,
        r=way.pruning.r,
        unit_s=used / timed.views * views,
        start_s=timed.start_s,
        known_from="measured",
        decoded=sampled.decoded,
        views=views,
        label_shares=shares,
    )


def expected_views(file: EarlyExitFile, sampled: Floats) -> float:
    """Evaluated views per video: of the sample and of the many more videos of the early-exit file;
    of the sample alone where they are not alike.
    """
    mean, count = float(sampled.mean()), len(sampled)
    if not views_are_alike(file, sampled):
        return mean
    return (mean * count + file.point.views * file.videos) / (count + file.videos)


def views_are_alike(file: EarlyExitFile, sampled: Floats) -> bool:
    """Whether the sample may be of the kind of videos that the file was fitted on."""
    error = file.point.views_sd * math.sqrt(1 / len(sampled) + 1 / file.videos)
    return abs(float(sampled.mean()) - file.point.views) <= _ERRORS * error


def _cores_left(machine: Machine, pools: Pools, measured: list[LabelerTiming]) -> float:
    """Cores that other programs left, where labelers asked for all of them."""
    if pools.labeler_threads is None or pools.labelers * pools.labeler_threads < machine.cpus:
        return float(machine.cpus)
    cores = sum(done.cores * done.wall_s for done in measured) / sum(d.wall_s for d in measured)
    return float(min(machine.cpus, cores))


def _known_from(
    found: ListedInput, sampled: Iterable[Sampled], measured: list[LabelerTiming]
) -> str:
    decoded = " and ".join(str(len(each.decoded.size)) for each in sampled)
    failed: dict[str, int] = {}
    for each in sampled:
        failed |= each.decoded.failed
    text = f"{decoded} of {found.count:,} videos decoded"
    if failed:
        text += f", {sum(failed.values())} more failed ({', '.join(sorted(failed))})"
    return f"{text}; {' and '.join(f'{each.units:,}' for each in measured)} units labeled"
