"""Measures rates: decodes and labels a sample of the input on this machine for about a minute."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

import sta
from pipeline.errors import RunError
from pipeline.execution.pools import Pools
from pipeline.labeling.options import LabelOptions
from pipeline.labeling.plan import LabelPlan
from pipeline.planner.labeler_timing import LabelerTiming, time_labelers
from pipeline.planner.local_pools import grain_rule, pools_of, ray_memory
from pipeline.planner.rates import PRUNED, UNPRUNED, LabelingRate, Machine, MeasuredRates, Workload
from pipeline.planner.sample import ListedInput, decode_sample, listed, work_of
from workers.device_names import DeviceKind
from workers.devices import has_unusable_gpu, why_no_cuda
from workers.machine import cpu_model, usable_cores
from workers.precisions import fast_precision

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
    found = listed(options, plan.earlier)
    pruning = plan.labeler.pruning
    variants = [(PRUNED, pruning)] if pruning.r else []
    variants.append((UNPRUNED, sta.Pruning(r=0)))
    share = seconds / (1 + len(variants))
    pools = pools_of(plan, options, machine, found.count)
    grain, _ = grain_rule(plan.protocol, options.batch_size, found.count, on_gpu=machine.gpus > 0)(
        pools.decoders[1], pools.labelers
    )
    say(f"Calibrating: decoding a sample of {found.count:,} videos for {share:.0f} s.")
    sampled = decode_sample(
        found, options, plan.protocol, seconds=share, keep=min(grain.label_rows, _MAX_FRAMES)
    )
    timer = _Timer(plan, pools, sampled.frames, grain.label_rows, share, say)
    timed = [(name, each.r, timer.of(name, each)) for name, each in variants]
    measured = [done for _, _, done in timed]
    rates = MeasuredRates(
        decoded=sampled.decoded,
        labelings=tuple(_labeling(*each, on_gpu=machine.gpus > 0) for each in timed),
        threads=pools.labeler_threads,
        label_shares=np.ones(len(sampled.decoded.size)),
        machine=dataclasses.replace(machine, cores_left=_cores_left(machine, pools, measured)),
        started_s=float(np.mean([done.imported_s for done in measured])),
        known_from=_known_from(found, sampled.decoded.failed, len(sampled.decoded.size), measured),
    )
    return PlanCalibration(rates, work_of(found, sampled), found.seconds)


@dataclass(frozen=True)
class _Timer:
    """Times labelers on the decoded frames."""

    plan: LabelPlan
    pools: Pools
    frames: pa.Table
    rows: int
    seconds: float
    say: Callable[[str], None]

    def of(self, name: str, pruning: sta.Pruning) -> LabelerTiming:
        """Times all labelers of the machine on CPUs, a single one on GPUs, which share nothing."""
        labelers = 1 if self.pools.labeler_gpus else self.pools.labelers
        some = f"{labelers} labelers" if labelers > 1 else "one labeler"
        self.say(f"Calibrating: labeling {name} for {self.seconds:.0f} s ({some}).")
        threads = self.pools.labeler_threads
        kind: DeviceKind = "cuda" if self.pools.labeler_gpus else "cpu"
        precision = self.plan.identity.precision or fast_precision(kind)
        config = dataclasses.replace(
            self.plan.labeler, pruning=pruning, threads=threads, precision=precision
        )
        with tempfile.TemporaryDirectory(prefix="plan-") as folder:
            return time_labelers(
                config,
                self.plan.protocol,
                self.frames,
                Path(folder),
                labelers=labelers,
                rows=self.rows,
                seconds=self.seconds,
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


def _labeling(name: str, r: int, timed: LabelerTiming, *, on_gpu: bool) -> LabelingRate:
    used = timed.wall_s if on_gpu else timed.cpu_s
    return LabelingRate(name, r, used / timed.units, timed.start_s, "measured")


def _cores_left(machine: Machine, pools: Pools, measured: list[LabelerTiming]) -> float:
    """Cores that other programs left, where labelers asked for all of them."""
    if pools.labeler_threads is None or pools.labelers * pools.labeler_threads < machine.cpus:
        return float(machine.cpus)
    cores = sum(done.cores * done.wall_s for done in measured) / sum(d.wall_s for d in measured)
    return float(min(machine.cpus, cores))


def _known_from(
    found: ListedInput, failed: dict[str, int], decoded: int, measured: list[LabelerTiming]
) -> str:
    text = f"{decoded} of {found.count:,} videos decoded"
    if failed:
        text += f", {sum(failed.values())} more failed ({', '.join(sorted(failed))})"
    return f"{text}; {' and '.join(f'{each.units:,}' for each in measured)} units labeled"
