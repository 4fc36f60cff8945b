"""`sta.apply` and `sta.remove`: prune a video classifier of transformers, in place."""

from __future__ import annotations

from typing import Any, TypeVar

from torch import nn

from sta.defaults import DEFAULT_SHARE, r_for_share
from sta.hf.classes import SupportedClass, supported_class
from sta.hf.hooks import AppliedPruning
from sta.pruning import PRUNING_STAGES, Pruning, largest_r

Model = TypeVar("Model", bound=nn.Module)

_ATTRIBUTE = "sta"


def apply(
    model: Model, *by_position: object, r: int | None = None, pruning: Pruning | None = None
) -> Model:
    """Prune a video classifier of transformers by STA, in place.

    Every call of the model is then pruned, until `remove`. The weights stay as they are, and so do
    the attention implementation, the configuration and what `save_pretrained` writes. The model's
    backbone, called alone, is not pruned; nor is `model.forward`, which calls no hooks.

    Applying the same settings twice changes nothing; other settings replace those before.
    `torch.compile` comes after `apply`; a call of a model that was compiled before raises
    RuntimeError.

    Args:
        model: a `VideoMAEForVideoClassification`, `VJEPA2ForVideoClassification` or
            `VivitForVideoClassification`.
        by_position: nothing; settings are given by name.
        r: tokens dropped per temporal position at the first stage; short for `Pruning(r=r)`.
        pruning: all settings. With neither, about half of the FLOPs of a clip of the size that the
            model's configuration names are left: the paper's r = 64 for VideoMAE at 16 x 224 x 224
            pixels, otherwise the r that comes nearest.

    Returns:
        The model itself. Its attribute `sta` is an `AppliedPruning`: the settings, and the kept
        tokens and FLOPs of the last forward pass.

    Raises:
        TypeError: the model is of another class, or a setting is given without its name.
        ValueError: r and pruning are both given, r is too large for the model (the message names
            the largest one), or a setting or the model's configuration rules pruning out.
    """
    if by_position:
        if isinstance(by_position[0], Pruning):
            raise TypeError("pruning is given by name: sta.apply(model, pruning=...)")
        raise TypeError(f"r is given by name: sta.apply(model, r={by_position[0]!r})")
    supported = supported_class(model)
    config: Any = model.config
    if r is not None and pruning is not None:
        raise ValueError("give r or pruning, not both")
    if pruning is not None and not isinstance(pruning, Pruning):
        raise TypeError(f"pruning must be a sta.Pruning; got {type(pruning).__name__}")
    _check(supported, config)
    if pruning is None:
        pruning = _default_pruning(supported, config) if r is None else Pruning(r=r)
    applied = AppliedPruning(supported, config, pruning)
    before = vars(model).get(_ATTRIBUTE)
    if before is not None and before.pruning == pruning:
        return model
    remove(model)
    applied.register(model)
    vars(model)[_ATTRIBUTE] = applied
    return model


def remove(model: Model) -> Model:
    """Undo `apply`, in place; a model that is not pruned stays as it is.

    Returns:
        The model itself, without the attribute `sta` and without any hook of `apply`.

    Raises:
        TypeError: the model is of a class that `apply` does not take.
    """
    supported_class(model)
    applied = vars(model).pop(_ATTRIBUTE, None)
    if applied is not None:
        applied.unregister()
    return model


def _check(supported: SupportedClass, config: Any) -> None:
    reason = supported.unsupported(config)
    depth = supported.shape(config).depth
    if depth < PRUNING_STAGES:
        reason = f"STA prunes at {PRUNING_STAGES} depths, and the model has {depth} layers"
    if reason is not None:
        raise ValueError(f"this {supported.name} cannot be pruned: {reason}")


def _default_pruning(supported: SupportedClass, config: Any) -> Pruning:
    """The paper's r where there is one, otherwise that which comes nearest to half of the FLOPs."""
    shape = supported.shape(config)
    temporal, rows, columns = grid = shape.grid(*shape.clip)
    if grid in supported.paper_r:
        return Pruning(r=supported.paper_r[grid])
    limit = largest_r(Pruning(), temporal_positions=temporal, spatial_tokens=rows * columns)

    def flops(r: int) -> int:
        return AppliedPruning(supported, config, Pruning(r=r)).flops

    return Pruning(r=r_for_share(flops, DEFAULT_SHARE, largest=limit))
