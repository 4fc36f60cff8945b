"""How much goes through the graph at once, and the memory that a labeler takes.

Decoded frames are the bulk of what the graph moves. A decoder hands over blocks of few units, small
enough that Ray never cuts one in two; a labeler takes a whole number of such blocks, so that
nothing is copied to regroup them, and as many views as fill its forward passes.
"""

from __future__ import annotations

from dataclasses import dataclass

import sta
from sta.models.architectures import SwinConfig
from workers.inference.labeler import DEFAULT_BATCH
from workers.sampling import Protocol

_MIB = 1024**2

# Clips that a labeler holds at once: some 700 MB of frames.
_MAX_CLIPS = 160

# Ray cuts a block where it passes 128 MiB; wide pictures need some room below that.
_BLOCK_BYTES = 88 * _MIB
_WIDTH_TO_HEIGHT = 16 / 9

# In small runs every decoder gets several tasks, every labeler several calls, and a kill costs
# little.
_TASKS_PER_DECODER = 8
_CALLS = 6
_CALLS_PER_LABELER = 3

# More padding than the least there can be is taken for smaller calls.
_PADDING_SLACK = 0.002

# Units of the shadow sample come one at a time.
_SHADOW_PADDING = 0.1

# Below so many views a further labeler takes longer to start than it saves.
_VIEWS_PER_LABELER = 256

# Resident memory of a process that labels: Python, torch, Arrow and Ray; with CUDA its context.
_BASE_BYTES = {"cpu": 450 * _MIB, "cuda": 3072 * _MIB}

# Peak of a forward pass on a CPU, in copies of the first block's tokens. Measured: 17 for ViT-B
# and ViT-L, 22 for VideoSwin-B.
_TOKEN_COPIES = 24
_RESERVE = 1.25


@dataclass(frozen=True)
class Grain:
    """How many units go through the graph together.

    Attributes:
        decode_rows: units of one task of a decoder, which become one block of frames.
        label_rows: units of one call of a labeler, a multiple of decode_rows.
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
) -> Grain:
    """What suits a run.

    Args:
        protocol: which says how many views and frames a unit has.
        batch_size: views per forward pass.
        units: of the run.
        decoders: how many there are at the most.
        labelers: how many there are.
        adaptive: whether the run uses early exit. Which of them fill a batch is
            then not known before, and the more there are to choose from, the fuller it is.
    """
    calls = max(1 if adaptive else _CALLS, _CALLS_PER_LABELER * labelers)
    most = max(1, min(_MAX_CLIPS // protocol.clips, units // calls))
    rows = most if adaptive else _fewest_filling(protocol.views, batch_size, most)
    fitting = _BLOCK_BYTES // unit_bytes(protocol)
    fair = units // (_TASKS_PER_DECODER * decoders)
    decode = max(1, min(fitting, fair, rows))
    while rows % decode:
        decode -= 1
    return Grain(decode_rows=int(decode), label_rows=rows)


def padding(views: int, batch_size: int) -> float:
    """Share of the places in forward passes of `batch_size` that `views` views leave empty."""
    slots = -(-views // batch_size) * batch_size
    return 1 - views / slots


def _fewest_filling(views: int, batch_size: int, most: int) -> int:
    """The fewest units, `most` at the most, whose views fill batches as well as any do."""
    empty = {rows: padding(rows * views, batch_size) for rows in range(1, most + 1)}
    least = min(empty.values())
    return min(rows for rows, share in empty.items() if share <= least + _PADDING_SLACK)


def unit_bytes(protocol: Protocol) -> int:
    """Bytes of a unit's decoded frames, of a video in 16:9 that no two clips share frames of."""
    frames = protocol.clips * protocol.frames
    return frames * protocol.size * round(protocol.size * _WIDTH_TO_HEIGHT) * 3


def labelers_worth_starting(views: int) -> int:
    """How many labelers on CPUs the labeling of so many views keeps busy."""
    return max(1, views // _VIEWS_PER_LABELER)


def default_batch(*, on_gpu: bool) -> int:
    """Views per forward pass where the user did not say."""
    return DEFAULT_BATCH["cuda" if on_gpu else "cpu"]


def shadow_batch(views: int, most: int) -> int:
    """The largest batch, `most` at the most, that the views of a single unit fill well."""
    return max(size for size in range(1, most + 1) if padding(views, size) <= _SHADOW_PADDING)


def labeler_bytes(
    architecture: str, protocol: Protocol, *, on_gpu: bool, batch_size: int, models: int = 1
) -> int:
    """Memory to reserve for a labeler: its peak and a quarter more. The frames that it reads lie
    in the object store, which Ray accounts for by itself.

    Args:
        architecture: name of the model's architecture.
        protocol: which says how large a labeler's input is.
        on_gpu: whether the forward passes take the GPU's memory instead.
        batch_size: views per forward pass.
        models: how many it holds; they run one after the other.
    """
    weights = models * 4 * _block_weights(architecture)
    passes = 0 if on_gpu else batch_size * _TOKEN_COPIES * _token_bytes(architecture, protocol)
    # The peak is that of one model at work; the others keep their inputs meanwhile.
    kept = 0 if on_gpu else (models - 1) * batch_size * _input_bytes(protocol)
    base = _BASE_BYTES["cuda" if on_gpu else "cpu"]
    return int(_RESERVE * (base + weights + passes + kept))


def _block_weights(architecture: str) -> int:
    """Numbers in a model's blocks, which are nearly all that it has: 12 of the width squared in
    each, four of them attention's and eight the MLP's.
    """
    config = sta.ARCHITECTURES[architecture]
    if isinstance(config, SwinConfig):
        widths = [config.stage_dim(stage) for stage in range(len(config.depths))]
        return sum(
            12 * depth * width**2 for depth, width in zip(config.depths, widths, strict=True)
        )
    return 12 * config.depth * config.embed_dim**2


def _input_bytes(protocol: Protocol) -> int:
    """Bytes of one view as a CPU's labeler holds it: in uint8, and normalized in float32."""
    return (1 + 4) * 3 * protocol.frames * protocol.size**2


def _token_bytes(architecture: str, protocol: Protocol) -> int:
    """Bytes of the tokens of one view at the first block, in float32."""
    config = sta.ARCHITECTURES[architecture]
    temporal = protocol.frames // config.tubelet_size
    return 4 * temporal * (protocol.size // config.patch_size) ** 2 * config.embed_dim
