"""Labels for decoded units: crops and normalisation on the device, static batches across videos."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

import sta
from workers.sampling import Protocol

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
TOP = 5

# Where a larger batch stops paying: a GPU is filled, a CPU's caches are not overrun.
DEFAULT_BATCH = {"cuda": 32, "cpu": 8}

_PADDING = -1


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
    """

    checkpoint: str
    pruning: sta.Pruning = field(default_factory=sta.Pruning)
    labels: Path | None = None
    batch_size: int | None = None
    threads: int | None = None
    fingerprint: str | None = None

    def __post_init__(self) -> None:
        for name in ("batch_size", "threads"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be 1 or more; got {value}")


@dataclass(frozen=True)
class Frames:
    """One unit's pixels on their way to the model.

    Attributes:
        unit_id: whose they are.
        pixels: uint8 (n, height, width, 3), RGB, resized as the protocol says.
        clip_frames: int (clips, T), rows of `pixels`.
    """

    unit_id: str
    pixels: npt.NDArray[np.uint8]
    clip_frames: npt.NDArray[np.int32]


@dataclass(frozen=True)
class View:
    """What the model said of one clip under one crop.

    Attributes:
        clip: number of the clip.
        crop: number of the crop.
        probabilities: float32 (classes,).
        kept: one bool array (n_t, n_s) per pruning stage.
        flops: multiply-accumulates that this view cost, fvcore's convention.
        device_ms: device time of the batch over the number of its views, milliseconds.
    """

    clip: int
    crop: int
    probabilities: npt.NDArray[np.float32]
    kept: tuple[npt.NDArray[np.bool_], ...]
    flops: int
    device_ms: float


class IdMismatch(RuntimeError):  # noqa: N818
    """A batch came back with other ids than it went in with; its labels must not be used."""


class Labeller:
    """A model on a device that labels units.

    Attributes:
        model: the model, as `sta.load_model` gives it.
        device: where it runs.
        batch_size: views per forward pass.
    """

    def __init__(self, config: LabellerConfig, protocol: Protocol) -> None:
        # CUDA_VISIBLE_DEVICES says nothing of a machine whose GPUs are only scheduled for.
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        if config.threads is not None:
            torch.set_num_threads(config.threads)
        self.batch_size = config.batch_size or DEFAULT_BATCH[self.device.type]
        self.protocol = protocol
        self.model = sta.load_model(
            config.checkpoint, pruning=config.pruning, labels=config.labels
        ).to(self.device)
        if config.fingerprint not in (None, self.model.fingerprint):
            raise ValueError(
                f"{config.checkpoint} is {self.model.fingerprint} here and was "
                f"{config.fingerprint} where the run began"
            )
        shape = self.model.config
        if (protocol.frames, protocol.size) != (shape.frames, shape.image_size):
            raise ValueError(
                f"the protocol gives {protocol.frames} frames of {protocol.size} pixels and "
                f"{self.model.architecture} takes {shape.frames} of {shape.image_size}"
            )
        self._mean = torch.tensor(MEAN, device=self.device).view(1, 3, 1, 1, 1)
        self._std = torch.tensor(STD, device=self.device).view(1, 3, 1, 1, 1)

    def label(self, units: Sequence[Frames]) -> list[list[View]]:
        """Labels every view of every unit.

        A unit has as many views as it has clips, times the protocol's crops. Views of all units run
        in batches of one static shape; the last batch is filled up with padding, whose results are
        thrown away.

        Returns:
            For each unit, in the order given, its views, clip by clip and crop by crop.

        Raises:
            IdMismatch: a batch did not return the ids that it was given.
        """
        result: list[list[View]] = [[] for _ in units]
        places = [
            (number, clip, crop)
            for number, unit in enumerate(units)
            for clip in range(len(unit.clip_frames))
            for crop in range(self.protocol.crops)
        ]
        expected = torch.arange(len(places))
        for start, clips, ids in self._batches(units):
            began = time.perf_counter()
            probabilities, kept, flops = self._forward(clips)
            returned = ids.cpu()
            elapsed = (time.perf_counter() - began) * 1e3
            count = int((returned != _PADDING).sum())
            if not torch.equal(returned[:count], expected[start : start + count]):
                raise IdMismatch(
                    f"views {start} to {start + count - 1} went in and views "
                    f"{returned.tolist()} came back"
                )
            for row, view in enumerate(returned[:count].tolist()):
                number, clip, crop = places[view]
                result[number].append(
                    View(
                        clip=clip,
                        crop=crop,
                        probabilities=probabilities[row],
                        kept=tuple(mask[row] for mask in kept),
                        flops=flops[row],
                        device_ms=elapsed / count,
                    )
                )
        for unit, views in zip(units, result, strict=True):
            count = len(unit.clip_frames) * self.protocol.crops
            if len(views) != count:
                raise IdMismatch(f"unit {unit.unit_id} has {len(views)} of {count} views")
        return result

    def _batches(self, units: Sequence[Frames]) -> Iterator[tuple[int, Tensor, Tensor]]:
        """(number of the first view, clips (B, T, S, S, 3) uint8, ids (B,)) per batch.

        The ids go to the device beside the pixels and come back beside the scores.
        """
        size = self.protocol.size
        shape = (self.batch_size, self.protocol.frames, size, size, 3)
        filled, start = 0, 0
        clips = torch.zeros(shape, dtype=torch.uint8, device=self.device)
        ids = torch.full((self.batch_size,), _PADDING, dtype=torch.int64, device=self.device)
        for unit in units:
            for pixels in self._crops(unit):
                clips[filled] = pixels
                ids[filled] = start + filled
                filled += 1
                if filled == self.batch_size:
                    yield start, clips, ids
                    start += filled
                    filled = 0
                    ids.fill_(_PADDING)
        if filled:
            clips[filled:] = 0
            yield start, clips, ids

    def _crops(self, unit: Frames) -> Iterator[Tensor]:
        """Pixels (T, S, S, 3) uint8 on the device of each view of a unit, clip by clip."""
        with _read_only_arrays():
            frames = torch.from_numpy(unit.pixels).to(self.device)
        size = self.protocol.size
        origins = self.protocol.crop_origins(frames.shape[1], frames.shape[2]).tolist()
        for rows in unit.clip_frames:
            whole = frames[torch.from_numpy(rows.astype(np.int64)).to(self.device)]
            for top, left in origins:
                yield whole[:, top : top + size, left : left + size]

    @torch.inference_mode()
    def _forward(
        self, clips: Tensor
    ) -> tuple[npt.NDArray[np.float32], list[npt.NDArray[np.bool_]], list[int]]:
        """Probabilities (B, classes), kept masks (B, n_t, n_s) per stage, FLOPs of each view."""
        x = clips.permute(0, 4, 1, 2, 3).float().div_(255).sub_(self._mean).div_(self._std)
        mixed = torch.autocast("cuda", dtype=torch.bfloat16, enabled=self.device.type == "cuda")
        with mixed:
            out = self.model(x)
        for stage, mask in zip(self.model.stages, out.kept, strict=True):
            counts = mask.flatten(1).sum(dim=1)
            if not bool((counts == stage.groups * stage.kept).all()):
                raise RuntimeError(
                    f"block {stage.block} kept {counts.tolist()} tokens where its FLOPs are "
                    f"counted for {stage.groups * stage.kept}"
                )
        probabilities = out.logits.float().softmax(dim=-1)
        flops = sta.clip_flops(self.model, out.kept)
        if not out.kept:
            flops *= len(clips)
        return probabilities.cpu().numpy(), [mask.cpu().numpy() for mask in out.kept], flops


@contextlib.contextmanager
def _read_only_arrays() -> Iterator[None]:
    """Silences torch's warning about arrays that cannot be written: nothing here writes."""
    import warnings

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*not writable.*")
        yield


def top_classes(
    probabilities: npt.NDArray[np.floating], count: int = TOP
) -> tuple[list[int], list[float]]:
    """Indices and probabilities of the most probable classes; ties go to the lower index."""
    order = np.argsort(-probabilities, kind="stable")[:count]
    return order.tolist(), probabilities[order].tolist()


def pack_mask(mask: npt.NDArray[np.bool_]) -> bytes:
    """A kept mask (n_t, n_s) as bits; the order is that of `workers.schema.KEPT_MAPS_ABOUT`."""
    return np.packbits(mask.reshape(-1)).tobytes()


def unpack_mask(packed: bytes, grid: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """The mask (n_t, n_s) that `pack_mask` packed."""
    bits = np.unpackbits(np.frombuffer(packed, dtype=np.uint8), count=grid[0] * grid[1])
    return bits.astype(bool).reshape(grid)
