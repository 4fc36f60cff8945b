"""The pruning of a model where none is given, and the one that reaches a share of its FLOPs."""

from __future__ import annotations

import dataclasses
from bisect import bisect_left
from collections.abc import Callable

from sta.flops import estimate_flops
from sta.models.architectures import ARCHITECTURES, DEFAULT_R, architecture_config
from sta.models.configs import ModelConfig, SwinConfig, ViTConfig
from sta.pruning import Grouping, Pruning

DEFAULT_SHARE = 0.5


def default_pruning(architecture: str | ModelConfig, *, grouping: Grouping = "released") -> Pruning:
    """The pruning where none is given, at the model's own clip length and frame size.

    It is the paper's where the paper has one. For other clips than the paper's it is the one that
    comes nearest to the share of the FLOPs that the paper's has, and for other models the one that
    comes nearest to half of them.

    Args:
        architecture: name of an architecture, or the shape of a model (`model.config`).
        grouping: that of the pruning.

    Raises:
        ValueError: unknown architecture, or a number of frames that the grouping does not take.
    """
    base = Pruning(grouping=grouping)
    config = architecture_config(architecture)
    name = architecture if isinstance(architecture, str) else _architecture_of(config)
    if name not in DEFAULT_R:
        return pruning_for_share(config, DEFAULT_SHARE, base=base)
    default = dataclasses.replace(base, r=DEFAULT_R[name])
    if config.input_shape == ARCHITECTURES[name].input_shape:
        return default
    share = estimate_flops(name, pruning=default) / estimate_flops(name)
    return pruning_for_share(config, share, base=base)


def _architecture_of(config: ModelConfig) -> str:
    """The architecture whose blocks a shape has; "" if there is none."""
    return next(
        (name for name, known in ARCHITECTURES.items() if _blocks(known) == _blocks(config)),
        "",
    )


def _blocks(config: ModelConfig) -> tuple[object, ...]:
    if isinstance(config, SwinConfig):
        return config.backbone, config.embed_dim, config.depths, config.window_size
    assert isinstance(config, ViTConfig)
    return config.backbone, config.embed_dim, config.depth


def pruning_for_share(
    architecture: str | ModelConfig, share: float, *, base: Pruning | None = None
) -> Pruning:
    """The pruning whose FLOPs come nearest to a share of the unpruned model's.

    Args:
        architecture: name of an architecture, or the shape of a model (`model.config`).
        share: of the FLOPs of the unpruned model, above 0 and at most 1. If no r saves so much, the
            result has the largest r.
        base: the settings beside r.

    Raises:
        ValueError: unknown architecture, or a share out of bounds.
    """
    if not 0 < share <= 1:
        raise ValueError(f"share must be above 0 and at most 1; got {share}")
    config, base = architecture_config(architecture), base or Pruning()

    def flops(r: int) -> int:
        return estimate_flops(config, pruning=dataclasses.replace(base, r=r))

    return dataclasses.replace(base, r=r_for_share(flops, share, largest=config.largest_r(base)))


def r_for_share(flops: Callable[[int], int], share: float, *, largest: int) -> int:
    """Of 0 to `largest`, the r whose `flops(r)` come nearest to a share of `flops(0)`."""
    wanted = share * flops(0)
    # More dropped tokens cost fewer FLOPs, but for the score itself, which the first r add.
    candidates = [0, nearest_number(flops, wanted, 1, largest)] if largest else [0]
    return min(candidates, key=lambda r: abs(flops(r) - wanted))


def nearest_number(cost: Callable[[int], float], wanted: float, low: int, high: int) -> int:
    """Of `low` to `high`, whose cost falls, the number whose cost is nearest to what is wanted."""
    enough = bisect_left(range(low, high), True, key=lambda number: cost(number) <= wanted) + low
    candidates = range(max(low, enough - 1), enough + 1)
    return min(candidates, key=lambda number: abs(cost(number) - wanted))
