"""A model on a device, run on batches of views of one static shape.

The engine overlaps work: while the device computes one batch, the host fills the next and reads
the results of the one before.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

import sta
from workers.device_names import DeviceKind
from workers.devices import device_for
from workers.inference.batch_result import BatchResult
from workers.inference.batching import PADDING, BatchInput
from workers.inference.compiled import Step
from workers.inference.forward import Forward, mixed_precision
from workers.inference.labeler_config import LabelerConfig, default_batch
from workers.inference.loading import DirectLoader, Loaded, Loader, StagedLoader
from workers.inference.output_buffer import OutputBuffer
from workers.inference.reduction import ReducedModel
from workers.inference.streams import CudaStream, HostStream, Stream
from workers.inference.views import Frames, IdMismatch
from workers.machine import cpu_model, has_bfloat16
from workers.sampling import Protocol

_log = logging.getLogger(__name__)

# Batches that the device may have at once: one is computed while the one before is read.
MAX_IN_FLIGHT = 2


@dataclass(frozen=True)
class _Submitted:
    """A batch that the device was given: numbers of its views, and where its results go."""

    first: int
    count: int
    results: OutputBuffer


class Engine:
    """A model on a device, and the batches that it computes.

    Use: `load` a unit's frames, `fill` the batch with views of them, `submit` the batch once it is
    full, and `collect` the results of the oldest batch in flight.

    Views are numbered in the order in which they are loaded, over the engine's life, and fill
    batches in this order. The numbers travel with the pixels to the device, through the model's
    graph beside the clips, and back with the scores: a buffer that is written too soon or read too
    early shows as an `IdMismatch`.

    Args:
        config: model, pruning and batch size.
        protocol: how videos become views.
        views_per_load: views that are usually loaded together.
        streams: where the model runs and, for a device with memory of its own, where frames are
            transferred to it; None for those of `config.device`.

    Attributes:
        model: the model, as `sta.load_model` gives it; with the precision bfloat16, the weights of
            its linear layers and convolutions are bfloat16.
        labels: class names in the order of the probabilities.
        device: where it runs.
        is_asynchronous: whether the device computes while the caller goes on.
        batch_size: views per forward pass.
        step: the prepared forward pass.
        batches: batches submitted so far.
    """

    def __init__(
        self,
        config: LabelerConfig,
        protocol: Protocol,
        *,
        views_per_load: int,
        streams: tuple[Stream, Stream | None] | None = None,
    ) -> None:
        stream, transfers = streams or _new_streams(config.device)
        self.device = stream.device
        self.is_asynchronous = transfers is not None
        if config.threads is not None:
            torch.set_num_threads(config.threads)
        self.batch_size = config.batch_size or default_batch(
            "cuda" if self.device.type == "cuda" else "cpu", protocol
        )
        self.model = _loaded(config, protocol).to(self.device)
        self._config = config
        self.labels = self.model.labels if config.head is None else config.head.labels
        self._reduced = config.reduction.apply(self.model) if config.reduction else None
        self._loader = self._new_loader(transfers, views_per_load)
        self._input = BatchInput(
            stream, batch_size=self.batch_size, frames=protocol.frames, size=protocol.size
        )
        self.step = self._new_step(config, stream)
        self._outputs = [OutputBuffer(stream, self._shapes()) for _ in range(MAX_IN_FLIGHT)]
        self.batches = self._loaded = self._filled = 0
        self._in_flight: deque[_Submitted] = deque()
        self._same_flops: int | None = None

    @property
    def _module(self) -> sta.VideoModel | ReducedModel:
        """What classifies clips."""
        return self.model if self._reduced is None else self._reduced

    @property
    def _is_static(self) -> bool:
        """Whether tensors within the model have the same shapes for every clip, and its FLOPs."""
        if self._reduced is not None:
            return self._reduced.is_static
        return not sta.flops_vary_by_clip(self.model.architecture, self.model.pruning)

    @property
    def filled(self) -> int:
        """Views in the batch that is being filled."""
        return self._input.filled

    @property
    def is_full(self) -> bool:
        """Whether the batch has no room for another view."""
        return not self._input.free

    @property
    def in_flight(self) -> int:
        """Batches submitted and not collected yet."""
        return len(self._in_flight)

    def load(self, unit: Frames, count: int) -> tuple[Loaded, int]:
        """Starts the transfer of frames, and numbers `count` views of them.

        Returns:
            The frames, and the number of the first view.
        """
        first = self._loaded
        self._loaded += count
        return self._loader.load(unit, np.arange(first, first + count)), first

    def fill(self, loaded: Loaded, origins: npt.NDArray[np.int64], first: int = 0) -> int:
        """Puts views into the batch; arguments and result are those of `BatchInput.fill`."""
        count = self._input.fill(loaded, origins, first)
        self._filled += count
        return count

    def submit(self) -> None:
        """Queues the batch, padded if it is not full, and begins the next one.

        Raises:
            RuntimeError: MAX_IN_FLIGHT batches are in flight.
        """
        if self.in_flight >= MAX_IN_FLIGHT:
            raise RuntimeError(
                f"{MAX_IN_FLIGHT} batches are in flight, the maximum: call collect() first"
            )
        count = self._input.filled
        if not self.is_full:
            self._input.pad()
        results = self._outputs[self.batches % MAX_IN_FLIGHT]
        self.batches += 1
        results.submit(self.step)
        self._in_flight.append(_Submitted(self._filled - count, count, results))
        self._input.clear()

    def collect(self) -> BatchResult:
        """Waits for the oldest batch in flight and returns its results.

        Raises:
            IdMismatch: the batch did not return the ids that it was given.
        """
        batch = self._in_flight.popleft()
        (ids, probabilities, *more), ms = batch.results.read()
        expected = np.full(self.batch_size, PADDING)
        expected[: batch.count] = np.arange(batch.first, batch.first + batch.count)
        if not np.array_equal(ids, expected):
            raise IdMismatch(
                f"the batch of views {batch.first} to {batch.first + batch.count - 1} returned "
                f"the ids {ids.tolist()}"
            )
        features, masks = None, more
        if self._config.has_features:
            features, masks = more[0][: batch.count], more[1:]
        probabilities = probabilities[: batch.count]
        if self._config.head is not None and features is not None:
            probabilities = self._config.head.probabilities(features)
        kept = [mask[: batch.count] for mask in masks]
        self._check_kept(kept)
        return BatchResult(
            first=batch.first,
            probabilities=probabilities,
            kept=kept,
            flops=self._flops(kept, batch.count),
            device_ms=ms,
            features=features if self._config.embeddings else None,
        )

    def reset(self) -> None:
        """Waits for the device, then discards the batch and all results not collected."""
        for results in self._outputs:
            results.wait()
        self._in_flight.clear()
        self._input.clear()
        self._filled = self._loaded

    def _check_kept(self, kept: Sequence[npt.NDArray[np.bool_]]) -> None:
        if self._reduced is not None:
            return  # its FLOPs are counted by the masks
        for stage, mask in zip(self.model.stages, kept, strict=True):
            counts = mask.reshape(len(mask), -1).sum(axis=1)
            if (counts != stage.groups * stage.kept).any():
                raise RuntimeError(
                    f"block {stage.block} kept {counts.tolist()} tokens of its views; its FLOPs "
                    f"are counted for {stage.groups * stage.kept} each"
                )

    def _flops(self, kept: Sequence[npt.NDArray[np.bool_]], count: int) -> list[int]:
        """FLOPs of each view of a batch."""
        if self._same_flops is not None:
            return [self._same_flops] * count
        masks = [torch.from_numpy(mask) for mask in kept]
        if self._reduced is not None:
            flops = self._reduced.clip_flops(masks)
        else:
            flops = sta.clip_flops(self.model, masks)
        if self._config.head is not None:
            flops = [each + self._config.head.flops for each in flops]
        if self._is_static:
            self._same_flops = flops[0]
            return self._flops(kept, count)
        return flops

    def _new_loader(self, transfers: Stream | None, views_per_load: int) -> Loader:
        if transfers is None:
            return DirectLoader()
        return StagedLoader(transfers, units=-(-self.batch_size // views_per_load) + 2)

    def _new_step(self, config: LabelerConfig, stream: Stream) -> Step:
        static = self._is_static
        if config.compile and self._reduced is not None and not static:
            raise ValueError(
                f"{config.reduction} cannot be compiled, since its shapes depend on the clip"
            )
        if config.compile and not static:
            raise ValueError(
                f"{self.model.architecture} with sparse window attention cannot be compiled, since "
                "its shapes depend on the clip; use window_attention='dense'"
            )
        on_gpu = self.device.type == "cuda"
        whole = on_gpu and static if config.compile is None else config.compile
        mixed = config.precision == "bfloat16"
        if mixed:
            mixed_precision(self.model)
            if not on_gpu and not has_bfloat16():
                _log.warning(
                    "labeling in bfloat16, the precision of this run, is slow on this processor, "
                    "which has no instructions for it: %s",
                    cpu_model(),
                )
        forward = Forward(
            self._module, self._input, mixed=mixed, whole=whole, features=config.has_features
        )
        if on_gpu:
            # Weights and buffers were written on the default stream; others do not wait for it.
            torch.cuda.synchronize(self.device)
        return Step(forward, self._input, stream, static=whole)

    def _shapes(self) -> list[tuple[tuple[int, ...], torch.dtype]]:
        """Shapes and dtypes of what the forward pass returns."""
        batch, classes = self.batch_size, len(self.model.labels)
        channels = [self.model.head.in_features] if self._config.has_features else []
        grids = self._module.kept_grids
        return [
            ((batch,), torch.int64),
            ((batch, classes), torch.float32),
            *(((batch, each), torch.float16) for each in channels),
            *(((batch, *grid), torch.bool) for grid in grids),
        ]


def _new_streams(kind: DeviceKind | None) -> tuple[Stream, Stream | None]:
    """Streams for the model and for transfers, on a device of this kind."""
    device = device_for(kind)
    if device.type == "cpu":
        return HostStream(), None
    return CudaStream(device), CudaStream(device)


def _loaded(config: LabelerConfig, protocol: Protocol) -> sta.VideoModel:
    """The model, whose fingerprint and shape are the configured ones and fit the protocol."""
    model = sta.load_model(
        config.checkpoint,
        pruning=config.pruning,
        labels=config.labels,
        label_map=config.label_map,
        sha256=config.fingerprint,
        patient=True,
    )
    shape = model.config
    if config.shape is not None and shape != config.shape:
        raise ValueError(
            f"{config.checkpoint} had {config.shape} where the run was planned, and has {shape} "
            "here; the files beside the weights differ"
        )
    if (protocol.frames, protocol.size) != (shape.frames, shape.image_size):
        raise ValueError(
            f"the protocol gives {protocol.frames} frames of {protocol.size} pixels; "
            f"{model.architecture} takes {shape.frames} frames of {shape.image_size} pixels"
        )
    return model.eval().requires_grad_(False)
