"""A model on a device that takes views in batches of one static shape, and hands back what it
says of them: one batch is computed while another is moved.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

import sta
from workers.device_names import DeviceKind
from workers.devices import device_for
from workers.inference.batching import PADDING, BatchInput
from workers.inference.compiled import Step
from workers.inference.forward import Forward, mixed_precision
from workers.inference.loading import DirectLoader, Loaded, Loader, StagedLoader
from workers.inference.output_buffer import Readback
from workers.inference.streams import CudaLane, HostLane, Lane
from workers.inference.views import Frames, IdMismatch, View
from workers.sampling import Protocol

# Where a larger batch stops paying: a GPU is filled, a CPU's caches are not overrun.
DEFAULT_BATCH = {"cuda": 32, "cpu": 8}

# One batch is computed while the one before is read.
READBACKS = 2


@dataclass(frozen=True)
class LabelerConfig:
    """What a labeler needs to know.

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
        device: what it must compute on, see `devices.device_for`.
    """

    checkpoint: str
    pruning: sta.Pruning = field(default_factory=sta.Pruning)
    labels: Path | None = None
    batch_size: int | None = None
    threads: int | None = None
    fingerprint: str | None = None
    compile: bool | None = None
    device: DeviceKind | None = None

    def __post_init__(self) -> None:
        for name in ("batch_size", "threads"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be 1 or more; got {value}")
        if self.compile not in (True, False, None):
            raise ValueError(f"compile must be True, False or None; got {self.compile!r}")


@dataclass(frozen=True)
class _Launched:
    """A batch that the device was given: numbers of its views, and where its results go."""

    first: int
    count: int
    results: Readback


@dataclass(frozen=True)
class Landed:
    """What came back of the n views of a batch.

    Attributes:
        first: number of the first view; the others follow it.
        probabilities: float32 (n, classes).
        kept: one bool array (n, n_t, n_s) per pruning stage.
        flops: (n,) multiply-accumulates of each view.
        device_ms: device time of the batch, milliseconds.
    """

    first: int
    probabilities: npt.NDArray[np.float32]
    kept: list[npt.NDArray[np.bool_]]
    flops: list[int]
    device_ms: float

    def __len__(self) -> int:
        return len(self.probabilities)

    def view(self, row: int, *, clip: int, crop: int, sharing: int) -> View:
        """One of the views, known as this clip under this crop.

        `sharing`: how many views bear the batch's device time.
        """
        return View(
            clip=clip,
            crop=crop,
            probabilities=self.probabilities[row],
            kept=tuple(mask[row] for mask in self.kept),
            flops=self.flops[row],
            device_ms=self.device_ms / sharing,
        )


class Engine:
    """A model on a device, and its batches on their way there and back.

    Views are numbered over the engine's life in the order in which they are loaded, and go into
    batches in this order. The numbers go to the device in one piece with the pixels, through the
    model's graph beside the clips, and come back in one piece with the scores: a buffer that is
    used again too soon or read too early shows as an `IdMismatch`.

    Args:
        config: model, pruning and batch size.
        protocol: how videos become views.
        views_per_load: views that are loaded together, as a rule.
        lanes: where the model runs and, for a device with memory of its own, where frames are
            transferred to it; None for those of `config.device`.

    Attributes:
        model: the model, as `sta.load_model` gives it; on a GPU with the weights of its linear
            layers in bfloat16.
        device: where it runs.
        is_late: whether the device computes while the caller goes on.
        batch_size: views per forward pass.
        step: the prepared forward pass.
        launches: batches that the device was given so far.
    """

    def __init__(
        self,
        config: LabelerConfig,
        protocol: Protocol,
        *,
        views_per_load: int,
        lanes: tuple[Lane, Lane | None] | None = None,
    ) -> None:
        lane, copies = lanes or _own_lanes(config.device)
        self.device = lane.device
        self.is_late = copies is not None
        if config.threads is not None:
            torch.set_num_threads(config.threads)
        self.batch_size = config.batch_size or DEFAULT_BATCH[self.device.type]
        self.model = _loaded(config, protocol).to(self.device)
        self._loader = self._loading(copies, views_per_load)
        self._input = BatchInput(
            lane, batch_size=self.batch_size, frames=protocol.frames, size=protocol.size
        )
        self.step = self._prepared(config, lane)
        self._readbacks = [Readback(lane, self._results()) for _ in range(READBACKS)]
        self.launches = self._loaded = self._taken = 0
        self._flying: deque[_Launched] = deque()
        self._same_flops: int | None = None

    @property
    def filled(self) -> int:
        """Views in the batch that is being filled."""
        return self._input.filled

    @property
    def is_full(self) -> bool:
        """Whether no view fits into it any more."""
        return not self._input.free

    @property
    def flying(self) -> int:
        """Batches whose results were not read yet."""
        return len(self._flying)

    def load(self, unit: Frames, count: int) -> tuple[Loaded, int]:
        """Sends frames on their way, under numbers for `count` views.

        Returns:
            The frames, and the number of the first view.
        """
        first = self._loaded
        self._loaded += count
        return self._loader.load(unit, np.arange(first, first + count)), first

    def take(self, loaded: Loaded, origins: npt.NDArray[np.int64], first: int = 0) -> int:
        """Puts views into the batch; arguments and result are those of `BatchInput.take`."""
        taken = self._input.take(loaded, origins, first)
        self._taken += taken
        return taken

    def launch(self) -> None:
        """Queues the batch, padded if it is not full; of the one before the last all is read."""
        if self.flying >= READBACKS:
            raise RuntimeError(f"{READBACKS} batches are on their way; one must be landed first")
        count = self._input.filled
        if not self.is_full:
            self._input.pad()
        results = self._readbacks[self.launches % READBACKS]
        self.launches += 1
        results.launch(self.step)
        self._flying.append(_Launched(self._taken - count, count, results))
        self._input.clear()

    def land(self) -> Landed:
        """The results of the oldest batch on its way; waits for them.

        Raises:
            IdMismatch: the batch did not return the ids that it was given.
        """
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
        return Landed(
            first=batch.first,
            probabilities=probabilities[: batch.count],
            kept=kept,
            flops=self._flops(kept, batch.count),
            device_ms=ms,
        )

    def abandon(self) -> None:
        """Leaves nothing behind of what was loaded, taken and launched so far."""
        for results in self._readbacks:
            results.wait()
        self._flying.clear()
        self._input.clear()
        self._taken = self._loaded

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

    def _loading(self, copies: Lane | None, views_per_load: int) -> Loader:
        if copies is None:
            return DirectLoader()
        return StagedLoader(copies, units=-(-self.batch_size // views_per_load) + 2)

    def _prepared(self, config: LabelerConfig, lane: Lane) -> Step:
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


def _own_lanes(kind: DeviceKind | None) -> tuple[Lane, Lane | None]:
    device = device_for(kind)
    if device.type == "cpu":
        return HostLane(), None
    return CudaLane(device), CudaLane(device)


def _loaded(config: LabelerConfig, protocol: Protocol) -> sta.VideoModel:
    """The model, checked against what the run began with and against the protocol."""
    model = sta.load_model(
        config.checkpoint, pruning=config.pruning, labels=config.labels, patient=True
    )
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
