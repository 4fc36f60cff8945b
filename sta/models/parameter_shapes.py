"""Names and shapes of a model's parameters, from its shape alone; allocates nothing.

A checkpoint is compared with them before a model is built, so that a small file cannot make a large
model.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from sta.models.architectures import SWIN_STAGES, SwinConfig, ViTConfig

Shape = tuple[int, ...]


def parameter_shapes(config: ViTConfig | SwinConfig, *, num_classes: int) -> dict[str, Shape]:
    """Shape of every entry of the state dict of `create_model`, by name."""
    parameters = _vit(config) if isinstance(config, ViTConfig) else _swin(config)
    last = config.embed_dim if isinstance(config, ViTConfig) else config.stage_dim(SWIN_STAGES - 1)
    return dict(parameters) | dict(_linear("head", last, num_classes))


def _vit(config: ViTConfig) -> Iterator[tuple[str, Shape]]:
    dim = config.embed_dim
    yield from _patch_embed(config)
    for index in range(config.depth):
        block = f"blocks.{index}"
        yield from _block(block, dim, config.mlp_ratio)
        for part in ("q", "k", "v") if config.key_bias else ("q", "v"):
            yield f"{block}.attn.{part}_bias", (dim,)
    yield from _norm("fc_norm", dim)


def _swin(config: SwinConfig) -> Iterator[tuple[str, Shape]]:
    yield from _patch_embed(config)
    yield from _norm("patch_embed.norm", config.embed_dim)
    rows = math.prod(2 * size - 1 for size in config.window_size)
    for stage, (depth, heads) in enumerate(zip(config.depths, config.num_heads, strict=True)):
        dim = config.stage_dim(stage)
        for index in range(depth):
            block = f"layers.{stage}.blocks.{index}"
            yield from _block(block, dim, config.mlp_ratio)
            yield f"{block}.attn.qkv.bias", (3 * dim,)
            yield f"{block}.attn.relative_position_bias_table", (rows, heads)
        if stage < SWIN_STAGES - 1:
            yield f"layers.{stage}.downsample.reduction.weight", (2 * dim, 4 * dim)
            yield from _norm(f"layers.{stage}.downsample.norm", 4 * dim)
    yield from _norm("norm", config.stage_dim(SWIN_STAGES - 1))


def _patch_embed(config: ViTConfig | SwinConfig) -> Iterator[tuple[str, Shape]]:
    tubelet = (config.tubelet_size, config.patch_size, config.patch_size)
    yield "patch_embed.proj.weight", (config.embed_dim, 3, *tubelet)
    yield "patch_embed.proj.bias", (config.embed_dim,)


def _block(name: str, dim: int, mlp_ratio: int) -> Iterator[tuple[str, Shape]]:
    yield from _norm(f"{name}.norm1", dim)
    yield f"{name}.attn.qkv.weight", (3 * dim, dim)
    yield from _linear(f"{name}.attn.proj", dim, dim)
    yield from _norm(f"{name}.norm2", dim)
    yield from _linear(f"{name}.mlp.fc1", dim, dim * mlp_ratio)
    yield from _linear(f"{name}.mlp.fc2", dim * mlp_ratio, dim)


def _linear(name: str, inputs: int, outputs: int) -> Iterator[tuple[str, Shape]]:
    yield f"{name}.weight", (outputs, inputs)
    yield f"{name}.bias", (outputs,)


def _norm(name: str, dim: int) -> Iterator[tuple[str, Shape]]:
    yield f"{name}.weight", (dim,)
    yield f"{name}.bias", (dim,)
