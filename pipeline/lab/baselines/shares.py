"""STA and its baselines at a share of the unpruned model's FLOPs, by names such as `tome@50%`."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

import sta
from pipeline.errors import UsageError
from pipeline.lab.baselines.merged_pruning import MergedPruning
from pipeline.lab.baselines.run_length import RLT, THRESHOLD, ThresholdRLT
from pipeline.lab.baselines.token_merging import ToMe
from sta.defaults import nearest_number
from workers.inference.reduction import SweepVariant, variant_flops

Variant = TypeVar("Variant", bound=SweepVariant)

# FLOPs that differ by less count as equal where r, a whole number, allows no better.
EQUAL = 0.03

# STA is the first.
METHODS = {
    "sta": "STA",
    "random": "random tokens",
    "tome": "ToMe",
    "tome-plain": "ToMe, plain attention",
    "rlt": "RLT",
    "sta-merged": "STA, merged",
}

# As published: clips have different FLOPs, and no share can be asked for.
RLT_THRESHOLD = "rlt-threshold"

_NAME = re.compile(r"(?P<method>[a-z-]*)@(?P<share>[0-9]+(\.[0-9]+)?)%")


@dataclass(frozen=True)
class AtShare:
    """A method at the FLOPs that are nearest to a share of the unpruned model's.

    Attributes:
        method: key of `METHODS`.
        share: that was asked for, 0 to 1.
        variant: the settings.
        flops: multiply-accumulates of one view.
        reached: share of the unpruned model's FLOPs that these are.
    """

    method: str
    share: float
    variant: SweepVariant
    flops: int
    reached: float

    @property
    def name(self) -> str:
        """Such as `tome@50%`."""
        return share_name(self.method, self.share)

    @property
    def about(self) -> str:
        """What it is, for readers."""
        pruning = _pruning(self.variant)
        first = ", random first frame" if pruning and pruning.first_frame == "random" else ""
        return f"{METHODS[self.method]}{first}, {100 * self.reached:.1f} % of the FLOPs"


def share_name(method: str, share: float) -> str:
    """Such as `tome@50%`."""
    return f"{method}@{100 * share:g}%"


def is_share_name(name: str) -> bool:
    """Whether a name says a share, right or wrong."""
    return "@" in name


def parse_name(name: str) -> tuple[tuple[str, ...], float]:
    """Methods and share of `tome@50%`, or of `@50%`, which names all methods.

    Raises:
        UsageError: the name is neither.
    """
    found = _NAME.fullmatch(name)
    if found is None:
        raise UsageError(
            f"a method at a share of the FLOPs is written tome@50%, @50% for all methods, and RLT "
            f"with its threshold {RLT_THRESHOLD}@{THRESHOLD:g}; got {name!r}"
        )
    method, share = found["method"], float(found["share"]) / 100
    if method and method not in METHODS:
        raise UsageError(f"{name}: there is no method {method!r}; there are {', '.join(METHODS)}")
    if not 0 < share < 1:
        raise UsageError(f"{name}: the share must be more than 0 % and less than 100 %")
    return (method,) if method else tuple(METHODS), share


def parse_threshold(name: str) -> ThresholdRLT | None:
    """Settings of `rlt-threshold@0.1`; None for another name.

    Raises:
        UsageError: what follows the @ is no threshold.
    """
    method, _, threshold = name.partition("@")
    if method != RLT_THRESHOLD:
        return None
    try:
        return ThresholdRLT(float(threshold))
    except ValueError as error:
        raise UsageError(
            f"{name}: a threshold is a number of 0 or more, such as {RLT_THRESHOLD}@{THRESHOLD:g}"
        ) from error


def fitting(name: str, methods: Sequence[str], config: sta.ModelConfig) -> tuple[str, ...]:
    """Of the methods that a name such as `@50%` means, those that fit a model; all of others."""
    if not name.startswith("@"):
        return tuple(methods)
    is_vit = isinstance(config, sta.ViTConfig)
    merges = {"tome", "tome-plain", "sta-merged"}
    return tuple(
        each
        for each in methods
        if (config.backbone == "videomae" if each in merges else is_vit or each != "rlt")
    )


def at_shares_of_sta(
    methods: Sequence[str],
    share: float,
    config: sta.ModelConfig,
    *,
    num_classes: int,
    pruning: sta.Pruning,
) -> list[AtShare]:
    """Methods at equal FLOPs: STA comes as near to a share as it can, the others to STA's FLOPs.

    Args:
        methods: keys of `METHODS`; the result is in the order of that table.
        share: of the unpruned model's FLOPs, between 0 and 1.
        config: shape of the model.
        num_classes: of its head.
        pruning: STA's switches; its r is ignored.

    Raises:
        UsageError: a method does not fit the model.
    """
    choose = partial(at_share, config=config, num_classes=num_classes, pruning=pruning)
    first = choose("sta", share)
    others = (each for each in METHODS if each in methods and each != "sta")
    found = [choose(each, share, level=first.reached) for each in others]
    return [first, *found] if "sta" in methods else found


def at_share(
    method: str,
    share: float,
    config: sta.ModelConfig,
    *,
    num_classes: int,
    pruning: sta.Pruning | None = None,
    level: float | None = None,
) -> AtShare:
    """The settings of a method whose FLOPs are nearest to a share of the unpruned model's.

    STA begins with a random first frame where ToMe's step, which drops half of a frame at the most,
    keeps it above the share.

    Args:
        method: key of `METHODS`.
        share: of the unpruned model's FLOPs, between 0 and 1.
        config: shape of the model.
        num_classes: of its head.
        pruning: STA's switches; its r is ignored.
        level: the share to come near to, if not the one that names it.

    Raises:
        UsageError: the method does not fit the model.
    """
    level = share if level is None else level
    try:
        variant = _nearest(method, level, config, pruning or sta.Pruning(), num_classes)
    except ValueError as error:
        raise UsageError(f"{share_name(method, share)}: {error}") from error
    flops = variant_flops(variant, config, num_classes=num_classes)
    reached = flops / sta.estimate_flops(config, num_classes=num_classes)
    return AtShare(method, share, variant, flops, reached)


def _nearest(
    method: str, share: float, config: sta.ModelConfig, base: sta.Pruning, num_classes: int
) -> SweepVariant:
    level = round(share * sta.estimate_flops(config, num_classes=num_classes))
    flops = partial(variant_flops, config=config, num_classes=num_classes)
    if method in ("tome", "tome-plain"):
        proportional = method == "tome"
        temporal, spatial = _grid(method, config)
        return nearest(lambda r: ToMe(r, proportional), 1, temporal * spatial // 2, level, flops)
    if method == "rlt":
        temporal, spatial = _grid(method, config)
        return nearest(RLT, 1, (temporal - 1) * spatial, level, flops)
    if method == "random":
        return sta.pruning_for_share(config, share, base=replace(base, score="random"))
    found = sta.pruning_for_share(config, share, base=base)
    if flops(found) > level * (1 + EQUAL):
        found = sta.pruning_for_share(config, share, base=replace(base, first_frame="random"))
    if method == "sta":
        return found
    # Merging costs a little, which a larger r makes up for.
    _grid(method, config)
    return nearest(
        lambda r: MergedPruning(replace(found, r=r)),
        *(1, config.largest_r(found), level, flops),
    )


def _grid(method: str, config: sta.ModelConfig) -> tuple[int, int]:
    if not isinstance(config, sta.ViTConfig):
        raise ValueError(f"{method} needs a ViT; sta and random fit every model")
    return config.grid


def _pruning(variant: SweepVariant) -> sta.Pruning | None:
    """The choice of tokens by STA; None for a method without it."""
    pruning = variant.pruning if isinstance(variant, MergedPruning) else variant
    return pruning if isinstance(pruning, sta.Pruning) else None


def seeded(variant: SweepVariant, seeds: int) -> tuple[SweepVariant, ...]:
    """The variant with so many seeds where chance is in it, else the variant alone."""
    pruning = _pruning(variant)
    if pruning is None or (pruning.score != "random" and pruning.first_frame == "tome"):
        return (variant,)
    prunings = [replace(pruning, seed=seed) for seed in range(seeds)]
    if isinstance(variant, MergedPruning):
        return tuple(replace(variant, pruning=each) for each in prunings)
    return tuple(prunings)


def nearest(
    made: Callable[[int], Variant],
    low: int,
    high: int,
    level: int,
    flops: Callable[[SweepVariant], int],
) -> Variant:
    """Of `made(low)` to `made(high)`, whose FLOPs fall, that with the FLOPs nearest to a level."""
    return made(nearest_number(lambda number: flops(made(number)), level, low, high))
