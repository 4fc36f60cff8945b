"""Pruning variants to compare at equal FLOPs: Table 6 and Figure 5 of the paper, and more."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import get_args

import sta
from pipeline.errors import UsageError
from sta import pruning as switches

UNPRUNED = "unpruned"
DEFAULT = "sta"
RANDOM = "random"

# Points of the curves, in shares of r; the paper's are r = 16 to 96, its default being 64.
_CURVE = (0.25, 0.5, 0.75, 1.25, 1.5)

# FLOPs that differ by less count as equal where r, a whole number, allows no better.
_EQUAL = 0.03


@dataclass(frozen=True)
class PruningVariant:
    """One way of pruning, tried with one seed or with several where chance is in it.

    Attributes:
        name: such as `first-grid`.
        about: what it is, for readers.
        prunings: that differ in their seed alone.
    """

    name: str
    about: str
    prunings: tuple[sta.Pruning, ...]

    @property
    def r(self) -> int:
        """Tokens dropped per frame at the first stage."""
        return self.prunings[0].r

    def sweep(self) -> dict[str, sta.Pruning]:
        """Its prunings by the names that they have in a sweep run."""
        if len(self.prunings) == 1:
            return {self.name: self.prunings[0]}
        return {f"{self.name}-{pruning.seed}": pruning for pruning in self.prunings}


def all_variants(
    architecture: str,
    *,
    r: int | None = None,
    seeds: int = 3,
    classes: int = 400,
    shape: sta.ModelConfig | None = None,
) -> list[PruningVariant]:
    """Everything that is compared, the unpruned model and STA as it is by default first.

    Args:
        architecture: name of the model's architecture.
        r: of all of them but those of the curves and of the schedules; None for the architecture's
            own default.
        seeds: of what chance decides.
        classes: of the model's head.
        shape: of the model, None for the architecture's own.

    Raises:
        UsageError: r is not one that the architecture can do, or there is no seed.
    """
    default = sta.default_pruning(architecture)
    if r is not None:
        default = dataclasses.replace(default, r=r)
    shape = shape or sta.architecture_config(architecture)
    most = largest_r(shape, default)
    if not 1 <= default.r <= most:
        raise UsageError(f"--r must be 1 to {most} for {architecture}; got {default.r}")
    if seeds < 1:
        raise UsageError(f"--seeds must be 1 or more; got {seeds}")
    return [
        PruningVariant(UNPRUNED, "no pruning", (sta.Pruning(),)),
        PruningVariant(DEFAULT, "STA", (default,)),
        *_switched(default, seeds),
        *_schedules(shape, default, classes),
        *_curves(default, most),
    ]


def chosen(variants: Sequence[PruningVariant], names: Sequence[str]) -> list[PruningVariant]:
    """Those with these names, or whose names begin with one of them and a dash, such as `order`;
    the unpruned model and the default are always among them.

    Raises:
        UsageError: a name fits none.
    """
    for name in names:
        if not any(_fits(variant, name) for variant in variants):
            known = ", ".join(variant.name for variant in variants)
            raise UsageError(f"--variants: there is no {name!r}; there are {known}")
    wanted = (UNPRUNED, DEFAULT, *names)
    return [each for each in variants if any(_fits(each, name) for name in wanted)]


def _fits(variant: PruningVariant, name: str) -> bool:
    return variant.name == name or (
        name not in (UNPRUNED, DEFAULT) and variant.name.startswith(f"{name}-")
    )


def _switched(default: sta.Pruning, seeds: int) -> list[PruningVariant]:
    """The default with one switch turned, or with the score of a baseline."""

    def one(name: str, about: str, **changes: object) -> PruningVariant:
        return PruningVariant(name, about, (dataclasses.replace(default, **changes),))  # type: ignore[arg-type]

    def several(name: str, about: str, **changes: object) -> PruningVariant:
        return PruningVariant(
            name,
            about,
            tuple(
                dataclasses.replace(default, seed=seed, **changes)  # type: ignore[arg-type]
                for seed in range(seeds)
            ),
        )

    return [
        one("grouping-paper", "STA, grouping of the paper", grouping="paper"),
        several(RANDOM, "random tokens", score="random"),
        one("score-semantics", "semantics alone, 1 - F", score="semantics"),
        one("score-redundancy", "redundancy alone, A", score="redundancy"),
        several("first-random", "random first frame", first_frame="random"),
        several("first-grid", "first frame by grid", first_frame="grid"),
        *(
            one(f"order-{order}", f"order {'-'.join(order)}", direction=order)
            for order in get_args(switches.Direction)
            if order != default.direction
        ),
        *(
            one(f"similarity-{similarity}", f"similarity of {what}", similarity=similarity)
            for similarity, what in (("q", "queries"), ("v", "values"), ("ffn", "FFN inputs"))
        ),
    ]


def _curves(default: sta.Pruning, most: int) -> list[PruningVariant]:
    """STA and random at other r, for the curves of Figure 5."""
    rates = sorted({min(most, round(default.r * share)) for share in _CURVE} - {0, default.r})
    by_chance = dataclasses.replace(default, score="random")
    return [
        PruningVariant(
            f"curve-{name}-r{r}", f"{about}, r = {r}", (dataclasses.replace(pruning, r=r),)
        )
        for r in rates
        for name, about, pruning in (
            (DEFAULT, "STA", default),
            (RANDOM, "random tokens", by_chance),
        )
    ]


def _schedules(shape: sta.ModelConfig, default: sta.Pruning, classes: int) -> list[PruningVariant]:
    """The three schedules at FLOPs as equal as r allows: those of the default, or of the schedule
    that cannot be made as cheap.

    ToMe's step drops half of a frame's tokens at the most, which the increasing schedule exceeds in
    a ViT; then all three begin with a random first frame.
    """

    def flops(pruning: sta.Pruning) -> int:
        return sta.estimate_flops(shape, pruning=pruning, num_classes=classes)

    names = get_args(switches.Schedule)
    target = flops(default)
    for first_frame in (default.first_frame, "random"):
        bases = {
            name: dataclasses.replace(default, schedule=name, first_frame=first_frame)
            for name in names
        }
        cheapest = max(
            flops(dataclasses.replace(base, r=largest_r(shape, base))) for base in bases.values()
        )
        if cheapest <= target * (1 + _EQUAL):
            break
    level = max(target, cheapest)
    return [
        PruningVariant(
            f"schedule-{name}",
            f"{name} schedule",
            (dataclasses.replace(base, r=_nearest_r(shape, base, level, flops)),),
        )
        for name, base in bases.items()
    ]


def largest_r(architecture: str | sta.ModelConfig, pruning: sta.Pruning) -> int:
    """The largest r that a pruning of an architecture, or of a model's shape, may have."""
    return sta.architecture_config(architecture).largest_r(pruning)


def _nearest_r(
    shape: sta.ModelConfig, base: sta.Pruning, level: int, flops: Callable[[sta.Pruning], int]
) -> int:
    """The r from 1 up whose FLOPs are nearest to a level; more tokens dropped cost fewer."""
    low, high = 1, largest_r(shape, base)
    while low < high:
        middle = (low + high) // 2
        if flops(dataclasses.replace(base, r=middle)) <= level:
            high = middle
        else:
            low = middle + 1
    near = [r for r in (low - 1, low) if r >= 1]
    return min(near, key=lambda r: abs(flops(dataclasses.replace(base, r=r)) - level))
