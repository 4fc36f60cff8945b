"""Pruning variants to compare at equal FLOPs: Table 6 and Figure 5 of the paper, and more."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import get_args

import sta
from pipeline.errors import UsageError
from pipeline.lab.baselines.shares import (
    EQUAL,
    at_shares_of_sta,
    fitting,
    nearest,
    parse_name,
    parse_threshold,
    seeded,
    share_name,
)
from sta import pruning as switches
from workers.inference.reduction import SweepVariant, variant_flops

UNPRUNED = "unpruned"
DEFAULT = "sta"
RANDOM = "random"

# Points of the curves, in shares of r; the paper's are r = 16 to 96, its default being 64.
_CURVE = (0.25, 0.5, 0.75, 1.25, 1.5)


@dataclass(frozen=True)
class PruningVariant:
    """One way of pruning, tried with one seed or with several where chance is in it.

    Attributes:
        name: such as `first-grid`, or `tome@50%` for a method at a share of the FLOPs.
        about: what it is, for readers.
        prunings: that differ in their seed alone; another method than STA has one.
        base: name of the variant that its differences are taken to.
        same_as: name of another variant with the same prunings, which are then tried once; None
            where there is none.
    """

    name: str
    about: str
    prunings: tuple[SweepVariant, ...]
    base: str = DEFAULT
    same_as: str | None = None

    @property
    def r(self) -> int:
        """Tokens dropped per frame at the first stage; 0 for another method than STA."""
        first = self.prunings[0]
        return first.r if isinstance(first, sta.Pruning) else 0

    @property
    def setting(self) -> str:
        """What decides its FLOPs: r, or that of another method than STA."""
        first = self.prunings[0]
        return str(first.r) if isinstance(first, sta.Pruning) else first.setting

    @property
    def method(self) -> str | None:
        """Such as "tome", for a method at a share of the FLOPs or at a threshold."""
        method, at, _ = self.name.partition("@")
        return method if at else None

    def sweep(self) -> dict[str, SweepVariant]:
        """Its prunings by the names that they have in a sweep run."""
        name = self.same_as or self.name
        if len(self.prunings) == 1:
            return {name: self.prunings[0]}
        return {f"{name}-{number}": each for number, each in enumerate(self.prunings)}


def tried_once(variants: Sequence[PruningVariant]) -> list[PruningVariant]:
    """The variants, those with the prunings of an earlier one marked as the same."""
    first: dict[tuple[SweepVariant, ...], str] = {}
    made = []
    for each in variants:
        name = first.setdefault(each.prunings, each.name)
        made.append(each if name == each.name else dataclasses.replace(each, same_as=name))
    return made


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
        r: of all of them but those of the curves and of the schedules; None for the default
            of its shape.
        seeds: of what chance decides.
        classes: of the model's head.
        shape: of the model, None for the architecture's own.

    Raises:
        UsageError: r is not one that the architecture can do, or there is no seed.
    """
    shape = shape or sta.architecture_config(architecture)
    default = sta.default_pruning(shape)
    if r is not None:
        default = dataclasses.replace(default, r=r)
    most = shape.largest_r(default)
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


def at_shares(
    names: Sequence[str],
    architecture: str,
    *,
    seeds: int = 3,
    classes: int = 400,
    shape: sta.ModelConfig | None = None,
) -> list[PruningVariant]:
    """Methods at shares of the FLOPs, and STA at each of these shares, which they are compared to.

    STA comes as near to a share as it can, and the others to the FLOPs of STA.

    Args:
        names: such as `tome@50%`, `@50%` for all methods that fit the model, or
            `rlt-threshold@0.1`.
        architecture: name of the model's architecture.
        seeds: of what chance decides.
        classes: of the model's head.
        shape: of the model, None for the architecture's own.

    Raises:
        UsageError: a name is wrong, or its method does not fit the model.
    """
    config = shape or sta.architecture_config(architecture)
    default = sta.default_pruning(config)
    made, asked = [], dict[float, list[str]]()
    for name in names:
        threshold = parse_threshold(name)
        if threshold is None:
            named, share = parse_name(name)
            asked.setdefault(share, [DEFAULT]).extend(fitting(name, named, config))
        elif not isinstance(config, sta.ViTConfig):
            raise UsageError(f"{name}: RLT needs a ViT; {architecture} is none")
        else:
            about = f"RLT, threshold {threshold.threshold:g}"
            made.append(PruningVariant(name, about, (threshold,)))
    for share, methods in asked.items():
        base = share_name(DEFAULT, share)
        for found in at_shares_of_sta(methods, share, config, num_classes=classes, pruning=default):
            made.append(PruningVariant(found.name, found.about, seeded(found.variant, seeds), base))
    return made


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

    flops = partial(variant_flops, config=shape, num_classes=classes)
    names = get_args(switches.Schedule)
    target = flops(default)
    for first_frame in (default.first_frame, "random"):
        bases = {
            name: dataclasses.replace(default, schedule=name, first_frame=first_frame)
            for name in names
        }
        cheapest = max(
            flops(dataclasses.replace(base, r=shape.largest_r(base))) for base in bases.values()
        )
        if cheapest <= target * (1 + EQUAL):
            break
    level = max(target, cheapest)
    return [
        PruningVariant(
            f"schedule-{name}",
            f"{name} schedule",
            (nearest(partial(_with_r, base), 1, shape.largest_r(base), level, flops),),
        )
        for name, base in bases.items()
    ]


def _with_r(base: sta.Pruning, r: int) -> sta.Pruning:
    return dataclasses.replace(base, r=r)
