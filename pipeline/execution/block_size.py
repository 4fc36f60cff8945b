"""Sizes of blocks and batches in the graph, and the memory of a labeler.

Most bytes in the graph are decoded frames. A decoder returns blocks of few units, small enough that
Ray never splits one. A labeler takes a whole number of blocks, so that Ray copies nothing to
regroup them, and as many views as fill its forward passes.
"""

from __future__ import annotations

from dataclasses import dataclass

import sta
from workers.inference.labeler import default_batch as device_batch
from workers.sampling import Protocol

_MIB = 1024**2

# Clips that a labeler holds at once: about 700 MB of frames for VideoMAE. Of longer and larger
# clips it holds fewer: one of 64 frames of 384 pixels has 50 MB.
_MAX_CLIPS = 160
_MAX_CLIPS_BYTES = 1400 * _MIB

# Ray splits blocks above 128 MiB; the difference allows for wider frames than 16:9.
_BLOCK_BYTES = 88 * _MIB
_WIDTH_TO_HEIGHT = 16 / 9

# With early exit, a labeler holds further clips of some of its units too.
_MORE_UNITS = 2

# In small runs each decoder still gets several tasks and each labeler several calls, and a killed
# attempt loses little.
_TASKS_PER_DECODER = 8
_CALLS = 6
_CALLS_PER_LABELER = 3

# Smaller calls are preferred if they add at most this share of padding.
_PADDING_SLACK = 0.002

# Largest share of padding for the shadow sample, whose units come one at a time.
_SHADOW_PADDING = 0.1

# For fewer views, starting one more labeler takes longer than it saves.
_VIEWS_PER_LABELER = 256

# Resident memory of a labeler process: Python, torch, Arrow and Ray; with CUDA also its context.
_BASE_BYTES = {"cpu": 450 * _MIB, "cuda": 3072 * _MIB}

# Peak memory of a forward pass on a CPU, in copies of the first block's tokens. Measured: 17 for
# ViT-B and ViT-L, 22 for VideoSwin-B.
_TOKEN_COPIES = 24
_RESERVE = 1.25


@dataclass(frozen=True)
class Grain:
    """Units that go through the graph together.

    Attributes:
        decode_rows: units per task of a decoder, whose frames are one block.
        label_rows: units per call of a labeler, a multiple of decode_rows.
    """

    decode_rows: int
    label_rows: int


def grain(
    protocol: Protocol,
    *,
    batch_size: int,
    units: int,
    decoders: int,
    labelers: int,
    adaptive: bool = False,
    clips: float | None = None,
) -> Grain:
    """The grain that suits a run.

    Args:
        protocol: gives the views and frames of a unit.
        batch_size: views per forward pass.
        units: units of the run.
        decoders: largest number of decoders.
        labelers: number of labelers.
        adaptive: whether the run uses early exit. The views of a unit are then not known in
            advance, and batches are fuller the more units a call has.
        clips: clips of a unit that come from its decoder, on average, where a labeler asks for
            others; None for all.
    """
    calls = max(1 if adaptive else _CALLS, _CALLS_PER_LABELER * labelers)
    decoded = protocol.clips if clips is None else clips
    most_clips = min(_MAX_CLIPS, _MAX_CLIPS_BYTES * protocol.clips / unit_bytes(protocol))
    held = min(most_clips / decoded, _MORE_UNITS * most_clips / protocol.clips)
    most = max(1, min(int(held), units // calls))
    rows = most if adaptive else _fewest_filling(protocol.views, batch_size, most)
    fitting = int(_BLOCK_BYTES * protocol.clips / (unit_bytes(protocol) * decoded))
    fair = units // (_TASKS_PER_DECODER * decoders)
    decode = max(1, min(fitting, fair, rows))
    while rows % decode:
        decode -= 1
    return Grain(decode_rows=int(decode), label_rows=rows)


def padding(views: int, batch_size: int) -> float:
    """Share of batch slots that stay empty when `views` views are labeled in batches."""
    slots = -(-views // batch_size) * batch_size
    return 1 - views / slots


def batch_for(views: int, most: int) -> int:
    """Views per forward pass, at most `most`, that label `views` views in as few passes as `most`
    does and with the fewest empty slots.
    """
    passes = -(-views // most)
    return -(-views // passes)


def _fewest_filling(views: int, batch_size: int, most: int) -> int:
    """The fewest units, at most `most`, whose views fill batches as well as any number does."""
    empty = {rows: padding(rows * views, batch_size) for rows in range(1, most + 1)}
    least = min(empty.values())
    return min(rows for rows, share in empty.items() if share <= least + _PADDING_SLACK)


def unit_bytes(protocol: Protocol) -> int:
    """Bytes of a unit's decoded frames, for a 16:9 video whose clips share no frames."""
    frames = protocol.clips * protocol.frames
    return frames * protocol.short_side * round(protocol.short_side * _WIDTH_TO_HEIGHT) * 3


def labelers_worth_starting(views: int) -> int:
    """The number of labelers on CPUs that so many views keep busy."""
    return max(1, views // _VIEWS_PER_LABELER)


def default_batch(protocol: Protocol, *, on_gpu: bool) -> int:
    """Views per forward pass without --batch-size, where the calls of a labeler have as many."""
    return device_batch("cuda" if on_gpu else "cpu", protocol)


def shadow_batch(views: int, most: int) -> int:
    """The largest batch, at most `most`, that the views of a single unit fill well."""
    return max(size for size in range(1, most + 1) if padding(views, size) <= _SHADOW_PADDING)


# Of a head, which is a small part of a model's weights.
_CLASSES = 400


def labeler_bytes(
    architecture: str, protocol: Protocol, *, on_gpu: bool, batch_size: int, models: int = 1
) -> int:
    """Bytes to reserve for a labeler: its peak and a quarter more. The frames that it reads are in
    the object store, which Ray accounts for itself.

    Args:
        architecture: name of the model's architecture.
        protocol: gives the size of a labeler's input.
        on_gpu: whether forward passes use the GPU's memory instead.
        batch_size: views per forward pass.
        models: number of models in a labeler; they run one after the other.
    """
    config = sta.ARCHITECTURES[architecture]
    weights = models * 4 * sta.parameter_count(config, num_classes=_CLASSES)
    passes = 0 if on_gpu else batch_size * _TOKEN_COPIES * _token_bytes(architecture, protocol)
    # One model runs at a time; the others keep their inputs.
    kept = 0 if on_gpu else (models - 1) * batch_size * _input_bytes(protocol)
    base = _BASE_BYTES["cuda" if on_gpu else "cpu"]
    return int(_RESERVE * (base + weights + passes + kept))


def _input_bytes(protocol: Protocol) -> int:
    """Bytes of one view in a labeler on a CPU: uint8, and normalized float32."""
    return (1 + 4) * 3 * protocol.frames * protocol.size**2


def _token_bytes(architecture: str, protocol: Protocol) -> int:
    """Bytes of the float32 tokens of one view at the first block."""
    config = sta.ARCHITECTURES[architecture]
    temporal = protocol.frames // config.tubelet_size
    return 4 * temporal * (protocol.size // config.patch_size) ** 2 * config.embed_dim
