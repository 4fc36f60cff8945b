"""A plan as text for the terminal, and as JSON."""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Callable
from typing import Any

from pipeline.formatting import clock, counted, digits, text_table
from pipeline.planner.cluster import Choice
from pipeline.planner.plan import Plan, PlanVariant
from pipeline.planner.predict import Prediction
from pipeline.planner.rates import EARLY_EXIT, PRUNED, LabelingRate, MeasuredRates

_Row = tuple[str, ...]

_SAVES = {PRUNED: "Pruning", EARLY_EXIT: "Early exit"}

# Columns of a terminal.
_WIDTH = 80

_ELSEWHERE = (
    "This machine has no GPU: all rates are of labelers on CPU cores, and the price of a GPU is "
    "not used. Run this command on a machine of the kind that you will rent, or give the directory "
    "of a run from such a machine as INPUT."
)


def text(plan: Plan, commands: dict[str, str], *, gpu_price: bool) -> str:
    """The plan as text.

    Args:
        plan: what was found.
        commands: the labeling command of each variant, by name.
        gpu_price: whether the price of a GPU was given, which needs rates of a GPU.
    """
    rates, work = plan.rates, plan.work
    lines = [
        f"Measured:   {rates.known_from}, on {_machine(rates)}",
        f"Work:       {work.videos:,} videos, {digits(work.video_s / 3600, 4)} hours"
        + (f", {work.units:,} segments" if work.units != work.videos else "")
        + (f", {digits(work.bytes / 1e9, 4)} GB" if work.bytes else "")
        + f" ({work.known_from})",
        "",
        *text_table(_rows(plan)),
    ]
    if gpu_price and not rates.machine.gpus:
        lines += ["", textwrap.fill(f"Note: {_ELSEWHERE}", _WIDTH)]
    for variant in plan.variants:
        if variant.refusal:
            lines += ["", f"{variant.labeling.name}: {variant.refusal}."]
    if _saved(plan):
        lines += ["", _saved(plan)]
    lines.append("")
    lines += [f"{name}: {command}" for name, command in commands.items()]
    return "\n".join(lines)


def as_json(plan: Plan, commands: dict[str, str]) -> dict[str, Any]:
    """The plan for programs; times in seconds, rates in units per second."""
    rates, terms = plan.rates, plan.terms
    return {
        "measured": rates.known_from,
        "machine": dataclasses.asdict(rates.machine),
        "work": dataclasses.asdict(plan.work),
        "deadline_s": terms.deadline_s if terms else None,
        "prices": terms.prices.as_json() if terms and terms.prices else None,
        "local_pools": {"decoders": plan.pools.decoders, "labelers": plan.pools.labelers},
        "variants": [_variant_json(plan, each, commands) for each in plan.variants],
    }


def _variant_json(plan: Plan, each: PlanVariant, commands: dict[str, str]) -> dict[str, Any]:
    rates = plan.rates
    choice, labeling = each.choice, each.labeling
    named = ("name", "r", "unit_s", "start_s", "known_from", "views")
    return {name: getattr(labeling, name) for name in named} | {
        "decoder": {
            "unit_s": labeling.decoded.seconds,
            "cpu_s": float(labeling.decoded.cpu_s.mean()),
            "units_per_s": 1 / labeling.decoded.seconds,
            "failed": labeling.decoded.failed,
        },
        "decode_core_hours": _decode_h(plan, labeling),
        "label_gpu_hours" if rates.machine.gpus else "label_core_hours": _label_h(plan, labeling),
        "labeler_units_per_s": _labeler_rate(rates, labeling),
        "decoders_per_labeler": _decoders_per_labeler(rates, labeling),
        "local_run": _prediction_json(each.local),
        "cluster": None
        if choice is None
        else dataclasses.asdict(choice.rented)
        | {"money": choice.money, "run": _prediction_json(choice.prediction)},
        "refusal": each.refusal,
        "command": commands.get(each.labeling.name),
    }


def _prediction_json(prediction: Prediction) -> dict[str, Any]:
    outcome = dataclasses.asdict(prediction.outcome)
    del outcome["labeled"]
    return {
        "seconds": prediction.seconds,
        "before_s": prediction.before_s,
        "graph_s": prediction.graph_s,
        "after_s": prediction.after_s,
        "bottleneck": prediction.bottleneck,
        "capacities": prediction.capacities,
        "simulation": outcome,
    }


def _rows(plan: Plan) -> list[_Row]:
    """Cells of the table: a name, then one cell per variant."""
    rates, variants = plan.rates, plan.variants
    hours = rates.unit_video_s  # video-hours per hour are seconds of video per second

    def row(name: str, cell: Callable[[PlanVariant], str]) -> _Row:
        return (name, *map(cell, variants))

    one = "GPU" if rates.machine.gpus else "labeler (CPU)"
    rows = [
        row("", lambda each: f"{each.labeling.name} (r = {each.labeling.r})"),
        row("views of a video", lambda each: digits(each.labeling.views)),
        row(f"one {one}", lambda each: _rate(_labeler_rate(rates, each.labeling), hours)),
        row("one decoder", lambda each: _rate(1 / each.labeling.decoded.seconds, hours)),
        row(
            f"decoders per {one}",
            lambda each: f"{_decoders_per_labeler(rates, each.labeling):.2f}",
        ),
        row(
            f"this machine ({counted(plan.pools.decoders, 'decoders')}, "
            f"{counted(plan.pools.labelers, 'labelers')})",
            lambda each: f"{clock(each.local.seconds)}, {each.local.bottleneck}",
        ),
    ]
    label_on = "GPU-hours" if rates.machine.gpus else "core-hours"
    rows += [
        row("decoding, core-hours", lambda each: digits(_decode_h(plan, each.labeling))),
        row(f"labeling, {label_on}", lambda each: digits(_label_h(plan, each.labeling))),
    ]
    known = [each.labeling.known_from for each in variants]
    if set(known) != {"measured"}:
        rows.insert(1, row("source of the rate", lambda each: each.labeling.known_from))
    return rows + _cluster_rows(plan) if plan.terms is not None else rows


def _cluster_rows(plan: Plan) -> list[_Row]:
    assert plan.terms is not None

    choices = [each.choice for each in plan.variants]

    def row(name: str, cell: Callable[[Choice], str]) -> _Row:
        return (name, *("impossible" if each is None else cell(each) for each in choices))

    empty = [""] * len(choices)
    rows: list[_Row] = [
        ("", *empty),
        (f"Within {clock(plan.terms.deadline_s)}:", *empty),
        row("  GPUs", lambda c: f"{c.rented.gpus:,}"),
        row("  labelers", lambda c: f"{c.rented.labelers:,}"),
        row("  decoders", lambda c: f"{c.rented.decoders:,}"),
        row("  drivers", lambda c: f"{c.prediction.drivers:,}"),
        row("  cores (billed separately)", _cores),
        row("  machines", lambda c: f"{c.rented.nodes:,}"),
        row("  time of the whole run", lambda c: clock(c.prediction.seconds)),
        row("  bottleneck", lambda c: c.prediction.bottleneck),
    ]
    prices, videos = plan.terms.prices, plan.work.videos
    if prices is not None:
        unit = prices.currency
        rows += [
            row("  cost", lambda c: f"{c.money:,.2f} {unit}"),
            row(
                "  per 1,000 videos",
                lambda c: f"{digits(1000 * (c.money or 0) / videos, 4)} {unit}",
            ),
        ]
    return rows


def _decode_h(plan: Plan, labeling: LabelingRate) -> float:
    """Core-hours of decoding all the work."""
    return plan.work.units * float(labeling.decoded.cpu_s.mean()) / 3600


def _label_h(plan: Plan, labeling: LabelingRate) -> float:
    """GPU-hours of labeling all the work; core-hours without GPUs."""
    return plan.work.units * labeling.unit_s / 3600


def _cores(choice: Choice) -> str:
    return f"{choice.rented.cores:,} ({choice.rented.paid_cores:,})"


def _labeler_rate(rates: MeasuredRates, labeling: LabelingRate) -> float:
    return (rates.threads or 1) / labeling.unit_s


def _decoders_per_labeler(rates: MeasuredRates, labeling: LabelingRate) -> float:
    return _labeler_rate(rates, labeling) * labeling.decoded.seconds


def _rate(units_per_s: float, hours: float) -> str:
    return f"{digits(units_per_s)}/s, {digits(units_per_s * hours, 4)} video-h/h"


def _machine(rates: MeasuredRates) -> str:
    machine = rates.machine
    text = f"{machine.name}, {machine.cpus} cores"
    if machine.gpus:
        text += f", {machine.gpus} GPUs"
    if machine.cores_left < 0.9 * machine.cpus:
        text += f" ({machine.cores_left:.2g} of them not used by other programs)"
    return text


def _saved(plan: Plan) -> str:
    """What each way of labeling saves over the last one, where both have a price."""
    money = {each.labeling.name: each.choice.money for each in plan.variants if each.choice}
    *others, last = plan.variants
    base = money.get(last.labeling.name)
    if not base:
        return ""
    saved = {
        _SAVES[each.labeling.name]: 1 - found / base
        for each in others
        if (found := money.get(each.labeling.name)) is not None
    }
    return " ".join(f"{name} saves {100 * part:.0f} % of the cost." for name, part in saved.items())
