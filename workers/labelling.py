"""Labels for decoded units: static batches across videos, one computed while others are moved."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

import sta
from workers.batching import PADDING, BatchInput
from workers.compiled import Step
from workers.forward import Forward, mixed_precision
from workers.lanes import CudaLane, HostLane, Lane
from workers.loading import DirectLoader, Loader, StagedLoader
from workers.masks import pack_mask, unpack_mask
from workers.readback import Readback
from workers.sampling import Protocol
from workers.views import Frames, IdMismatch, View

__all__ = [
    "TOP",
    "Frames",
    "IdMismatch",
    "Labeller",
    "LabellerConfig",
    "View",
    "pack_mask",
    "top_classes",
    "unpack_mask",
]

TOP = 5

# Where a larger batch stops paying: a GPU is filled, a CPU's caches are not overrun.
DEFAULT_BATCH = {"cuda": 32, "cpu": 8}

# One batch is computed while the one before is read.
_READBACKS = 2


@dataclass(frozen=True)
class LabellerConfig:
    """What a labeller needs to know.

    Attributes:
        checkpoint: source for `sta.load_model`.
        pruning: how tokens are pruned.
        labels: file with class names, None for the checkpoint's own.
        batch_size: views per forward pass, None for the device's default.
        threads: CPU threads of torch, None for its default.
        fingerprint: what the loaded weights must be, None for whatever they are.
        compile: whether the forward pass is compiled and, on a GPU, captured in a CUDA graph. None
            does so on a GPU where shapes are static, which they are but for VideoSwin's exact
            window attention.
    """

    checkpoint: str
    pruning: sta.Pruning = field(default_factory=sta.Pruning)
    labels: Path | None = None
    batch_size: int | None = None
    threads: int | None = None
    fingerprint: str | None = None
    compile: bool | None = None

    def __post_init__(self) -> None:
        for name in ("batch_size", "threads"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be 1 or more; got {value}")
        if self.compile not in (True, False, None):
            raise ValueError(f"compile must be True, False or None; got {self.compile!r}")


@dataclass(frozen=True)
class _Unit:
    """A unit whose views are not all labelled yet, and the number of its first view."""

    unit_id: str
    first: int
    count: int
    views: list[View]


@dataclass(frozen=True)
class _Launched:
    """A batch that the device was given: numbers of its views, and where its results go."""

    first: int
    count: int
    results: Readback


class Labeller:
    """A model on a device that labels units.

    Views are numbered over the labeller's life. The numbers go to the device in one piece with the
    unit's pixels, through the model's graph beside the clips, and come back in one piece with the
    scores: a buffer that is used again too soon or read too early shows as an `IdMismatch`.

    Args:
        config: model, pruning and batch size.
        protocol: how videos become views.
        lanes: where the model runs and, for a device with memory of its own, where frames are
            transferred to it; None for those of the GPU, or of the CPU where there is none.

    Attributes:
        model: the model, as `sta.load_model` gives it; on a GPU with the weights of its linear
            layers in bfloat16.
        device: where it runs.
        batch_size: views per forward pass.
        step: the prepared forward pass.
    """

    def __init__(
        self,
        config: LabellerConfig,
        protocol: Protocol,
        *,
        lanes: tuple[Lane, Lane | None] | None = None,
    ) -> None:
        lane, copies = lanes or _own_lanes()
        self.device = lane.device
        if config.threads is not None:
            torch.set_num_threads(config.threads)
        self.batch_size = config.batch_size or DEFAULT_BATCH[self.device.type]
        self.protocol = protocol
        self.model = _loaded(config, protocol).to(self.device)
        self._loader = self._loading(copies)
        self._input = BatchInput(
            lane, batch_size=self.batch_size, frames=protocol.frames, size=protocol.size
        )
        self.step = self._prepared(config, lane)
        self._readbacks = [Readback(lane, self._results()) for _ in range(_READBACKS)]
        self._launches = self._next_id = 0
        self._flying: deque[_Launched] = deque()
        self._waiting: deque[_Unit] = deque()
        self._same_flops: int | None = None

    def label(self, units: Sequence[Frames]) -> list[list[View]]:
        """Labels every view of every unit.

        Returns:
            For each unit, in the order given, its views, clip by clip and crop by crop.

        Raises:
            IdMismatch: a batch did not return the ids that it was given.
        """
        return list(self.stream(units))

    def stream(self, units: Iterable[Frames]) -> Iterator[list[View]]:
        """Labels units one after the other, one stream at a time.

        A unit has as many views as it has clips, times the protocol's crops. Views of all units run
        in batches of one static shape; the last batch is filled up with padding, whose results are
        thrown away. What the caller does with a unit's views is done while the device computes the
        next batch.

        Yields:
            For each unit, in the order given, its views, clip by clip and crop by crop.

        Raises:
            IdMismatch: a batch did not return the ids that it was given.
        """
        if self._waiting or self._flying:
            raise RuntimeError("a labeller labels one stream of units at a time")
        try:
            for unit in units:
                self._enter(unit)
                yield from self._finished()
            self._flush()
            yield from self._finished()
        finally:
            self._abandon()

    def _enter(self, unit: Frames) -> None:
        """Sends a unit's frames on their way and launches the batches that they complete."""
        count = len(unit.clip_frames) * self.protocol.crops
        self._waiting.append(_Unit(unit.unit_id, self._next_id, count, []))
        ids = np.arange(self._next_id, self._next_id + count)
        self._next_id += count
        loaded = self._loader.load(unit, ids)
        origins = self.protocol.crop_origins(*unit.pixels.shape[1:3])
        taken = 0
        while taken < count:
            taken += self._input.take(loaded, origins, taken)
            if not self._input.free:
                self._launch(first=int(ids[taken - 1]) + 1 - self.batch_size)

    def _launch(self, first: int) -> None:
        """Queues the batch and reads the one before it, which is done or about to be."""
        results = self._readbacks[self._launches % _READBACKS]
        self._launches += 1
        results.launch(self.step)
        self._flying.append(_Launched(first, self._input.filled, results))
        self._input.clear()
        while len(self._flying) >= _READBACKS:
            self._land()

    def _flush(self) -> None:
        """Launches what is left as a partial batch, and reads all."""
        if self._input.filled:
            self._input.pad()
            self._launch(first=self._next_id - self._input.filled)
        while self._flying:
            self._land()

    def _abandon(self) -> None:
        """Leaves nothing behind of a stream that ended, however it ended."""
        for results in self._readbacks:
            results.wait()
        self._flying.clear()
        self._waiting.clear()
        self._input.clear()

    def _land(self) -> None:
        """Gives the results of the oldest batch to the units that they belong to."""
        batch = self._flying.popleft()
        (ids, probabilities, *masks), ms = batch.results.read()
        expected = np.full(self.batch_size, PADDING)
        expected[: batch.count] = np.arange(batch.first, batch.first + batch.count)
        if not np.array_equal(ids, expected):
            raise IdMismatch(
                f"views {batch.first} to {batch.first + batch.count - 1} went in and views "
                f"{ids.tolist()} came back"
            )
        kept = [mask[: batch.count] for mask in masks]
        self._check_kept(kept)
        flops = self._flops(kept, batch.count)
        units = iter(self._waiting)
        unit = next(units)
        for row in range(batch.count):
            while batch.first + row >= unit.first + unit.count:
                unit = next(units)
            clip, crop = divmod(batch.first + row - unit.first, self.protocol.crops)
            unit.views.append(
                View(
                    clip=clip,
                    crop=crop,
                    probabilities=probabilities[row],
                    kept=tuple(mask[row] for mask in kept),
                    flops=flops[row],
                    device_ms=ms / batch.count,
                )
            )

    def _finished(self) -> Iterator[list[View]]:
        while self._waiting and len(self._waiting[0].views) == self._waiting[0].count:
            yield self._waiting.popleft().views

    def _check_kept(self, kept: Sequence[npt.NDArray[np.bool_]]) -> None:
        for stage, mask in zip(self.model.stages, kept, strict=True):
            counts = mask.reshape(len(mask), -1).sum(axis=1)
            if (counts != stage.groups * stage.kept).any():
                raise RuntimeError(
                    f"block {stage.block} kept {counts.tolist()} tokens where its FLOPs are "
                    f"counted for {stage.groups * stage.kept}"
                )

    def _flops(self, kept: Sequence[npt.NDArray[np.bool_]], count: int) -> list[int]:
        """FLOPs of each view of a batch."""
        if self._same_flops is not None:
            return [self._same_flops] * count
        flops = sta.clip_flops(self.model, [torch.from_numpy(mask) for mask in kept])
        if not _shapes_follow_clip(self.model):
            self._same_flops = flops[0]
            return self._flops(kept, count)
        return flops

    def _loading(self, copies: Lane | None) -> Loader:
        if copies is None:
            return DirectLoader()
        return StagedLoader(copies, units=-(-self.batch_size // self.protocol.views) + 2)

    def _prepared(self, config: LabellerConfig, lane: Lane) -> Step:
        static = not _shapes_follow_clip(self.model)
        if config.compile and not static:
            raise ValueError(
                f"{self.model.architecture} with exact window attention has shapes that follow the "
                f"clip and cannot be compiled; window_attention='filled' can"
            )
        on_gpu = self.device.type == "cuda"
        whole = on_gpu and static if config.compile is None else config.compile
        if on_gpu:
            mixed_precision(self.model)
        forward = Forward(self.model, self._input, mixed=on_gpu, whole=whole)
        if on_gpu:
            # Weights and buffers were written on the default stream, which no lane waits for.
            torch.cuda.synchronize(self.device)
        return Step(forward, self._input, lane, static=whole)

    def _results(self) -> list[tuple[tuple[int, ...], torch.dtype]]:
        """Shapes and dtypes of what the forward pass returns."""
        batch, classes = self.batch_size, self.model.head.out_features
        grids = self.model.kept_grids
        return [
            ((batch,), torch.int64),
            ((batch, classes), torch.float32),
            *(((batch, *grid), torch.bool) for grid in grids),
        ]


def _own_lanes() -> tuple[Lane, Lane | None]:
    # CUDA_VISIBLE_DEVICES says nothing of a machine whose GPUs are only scheduled for.
    if not torch.cuda.is_available():
        return HostLane(), None
    device = torch.device("cuda", torch.cuda.current_device())
    return CudaLane(device), CudaLane(device)


def _loaded(config: LabellerConfig, protocol: Protocol) -> sta.VideoModel:
    """The model, checked against what the run began with and against the protocol."""
    model = sta.load_model(config.checkpoint, pruning=config.pruning, labels=config.labels)
    if config.fingerprint not in (None, model.fingerprint):
        raise ValueError(
            f"{config.checkpoint} is {model.fingerprint} here and was "
            f"{config.fingerprint} where the run began"
        )
    shape = model.config
    if (protocol.frames, protocol.size) != (shape.frames, shape.image_size):
        raise ValueError(
            f"the protocol gives {protocol.frames} frames of {protocol.size} pixels and "
            f"{model.architecture} takes {shape.frames} of {shape.image_size}"
        )
    return model.eval().requires_grad_(False)


def _shapes_follow_clip(model: sta.VideoModel) -> bool:
    """Whether tensors within the model differ in shape from batch to batch, as its FLOPs do."""
    return sta.flops_follow_clip(model.architecture, model.pruning)


def top_classes(
    probabilities: npt.NDArray[np.floating], count: int = TOP
) -> tuple[list[int], list[float]]:
    """Indices and probabilities of the most probable classes; ties go to the lower index."""
    order = np.argsort(-probabilities, kind="stable")[:count]
    return order.tolist(), probabilities[order].tolist()
