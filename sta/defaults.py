"""The pruning of a model where none is given, and the one that reaches a share of its FLOPs."""

from __future__ import annotations

import dataclasses

from sta.flops import estimate_flops
from sta.models.architectures import DEFAULT_R, architecture_config, check_architecture
from sta.models.configs import ModelConfig
from sta.pruning import Pruning

_SHARE = 0.5


def default_pruning(architecture: str) -> Pruning:
    """The pruning of an architecture where none is given, at its own input size.

    It is the paper's where the paper has one, else the one that comes nearest to half the FLOPs.

    Raises:
        ValueError: unknown architecture.
    """
    check_architecture(architecture)
    if architecture in DEFAULT_R:
        return Pruning(r=DEFAULT_R[architecture])
    return pruning_for_share(architecture, _SHARE)


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

    wanted = share * flops(0)
    # More dropped tokens cost fewer FLOPs, but for the score itself, which the first r add.
    low, high = 1, config.largest_r(base)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if flops(middle) <= wanted else (middle + 1, high)
    candidates = [r for r in (0, low - 1, low) if r >= 0]
    return dataclasses.replace(base, r=min(candidates, key=lambda r: abs(flops(r) - wanted)))
