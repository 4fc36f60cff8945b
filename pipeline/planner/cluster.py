"""Chooses the cheapest cluster that meets a deadline."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pipeline.errors import UsageError
from pipeline.execution.bottleneck import MARGIN
from pipeline.execution.pools import OVERHEAD_CPUS
from pipeline.formatting import clock
from pipeline.planner.predict import (
    DRIVERS,
    Prediction,
    Terms,
    actor_start_s,
    before_graph_s,
    limited,
    pool_cores,
    predict,
    scenario_of,
)
from pipeline.planner.rates import LabelingRate, MeasuredRates
from pipeline.planner.scenario import Scenario
from pipeline.prices import DeviceTime

# Simulations until one meets the deadline; each adds labelers in proportion to the last delay.
_TRIES = 8

# Decoders relative to what mean rates need: the largest videos come first, and the time to decode
# a video grows with its size while the time to label it does not.
_MORE_DECODERS = (1.0, 1.5, 2.0)


@dataclass(frozen=True)
class Rented:
    """Machines for a run.

    Attributes:
        nodes: machines, as the measured one.
        gpus: GPUs in them; 0 where labelers run on CPUs.
        decoders: decode actors.
        labelers: label actors.
        cores: cores that the run needs, those for Ray's own steps included.
        paid_cores: those of them that do not come with a GPU.
    """

    nodes: int
    gpus: int
    decoders: int
    labelers: int
    cores: int
    paid_cores: int


@dataclass(frozen=True)
class Choice:
    """Machines that meet the deadline.

    Attributes:
        rented: which.
        prediction: of the run on them.
        money: what that costs; None without prices.
    """

    rented: Rented
    prediction: Prediction
    money: float | None


def choose(rates: MeasuredRates, labeling: LabelingRate, terms: Terms) -> Choice:
    """The cheapest cluster found that meets the deadline.

    Raises:
        UsageError: none can; the message says why.
    """
    _check_time(rates, labeling, terms)
    _check_limits(rates, labeling, terms)
    found = [
        choice
        for more in _MORE_DECODERS
        if (choice := _enough(rates, labeling, terms, more)) is not None
    ]
    if not found:
        raise UsageError(
            f"no cluster found labels {terms.work.units:,} units {labeling.name} within "
            f"{clock(terms.deadline_s)}, even with one labeler per unit"
        )
    return min(found, key=lambda each: (each.money or 0.0, each.rented.gpus, each.rented.cores))


def rent(
    rates: MeasuredRates, labeling: LabelingRate, terms: Terms, labelers: int, more: float
) -> Rented:
    """Machines for this many labelers and for the decoders that keep them busy, times `more`."""
    machine, decoded = rates.machine, labeling.decoded
    if machine.gpus:
        ratio = MARGIN * decoded.seconds / labeling.unit_s
        decoders = math.ceil(labelers * ratio * more)
        cores = math.ceil(decoders * decoded.cores + OVERHEAD_CPUS)
        included = terms.prices.gpu_cores if terms.prices is not None else 0.0
        return Rented(
            nodes=math.ceil(labelers / machine.gpus),
            gpus=labelers,
            decoders=decoders,
            labelers=labelers,
            cores=cores,
            paid_cores=max(0, math.ceil(cores - labelers * included)),
        )
    nodes = math.ceil((labelers + OVERHEAD_CPUS) / machine.cpus)
    cores = nodes * machine.cpus
    ratio = MARGIN * decoded.seconds * (rates.threads or 1) / labeling.unit_s
    most = max(1, 2 * cores - labelers)
    decoders = min(most, math.ceil(labelers * ratio * more))
    return Rented(nodes, 0, decoders, labelers, cores, cores)


def scenario_for(
    rates: MeasuredRates, labeling: LabelingRate, terms: Terms, rented: Rented
) -> Scenario:
    """Scenario of a run on these machines."""
    cores = rented.cores - OVERHEAD_CPUS
    if not rented.gpus:
        cores = rented.nodes * pool_cores(rates.machine.cpus)
    return scenario_of(
        rates,
        labeling,
        terms,
        decoders=rented.decoders,
        labelers=rented.labelers,
        nodes=rented.nodes,
        cores=cores,
    )


def cost(labeling: LabelingRate, terms: Terms, rented: Rented, seconds: float) -> float | None:
    """Price of the machines for `seconds` and of reading the videos; None without prices."""
    prices = terms.prices
    if prices is None:
        return None
    units = float(terms.work.units)
    return prices.cluster(
        DeviceTime(rented.gpus * seconds, rented.cores * seconds),
        bytes_read=float(labeling.decoded.bytes_read.mean()) * units,
        gets=units,
    )


def fixed_s(rates: MeasuredRates, labeling: LabelingRate, terms: Terms) -> float:
    """Seconds of a run that more machines do not reduce: its start and one unit."""
    before = before_graph_s(rates, terms.listing_s) + max(actor_start_s(rates, labeling))
    return before + labeling.decoded.seconds + labeling.unit_s / (rates.threads or 1)


def _check_time(rates: MeasuredRates, labeling: LabelingRate, terms: Terms) -> None:
    fixed = fixed_s(rates, labeling, terms)
    if fixed >= terms.deadline_s:
        raise UsageError(
            f"--deadline {clock(terms.deadline_s)} is impossible: starting alone takes "
            f"{clock(fixed)} ({labeling.name}: listing {clock(terms.listing_s)}, Ray and the "
            f"pools, model load and compilation {clock(labeling.start_s)}), however many "
            f"machines are used"
        )


def _check_limits(rates: MeasuredRates, labeling: LabelingRate, terms: Terms) -> None:
    """Refuses what storage or commits do not allow, before simulating any cluster."""
    scenario = scenario_for(rates, labeling, terms, rent(rates, labeling, terms, 1, 1.0))
    needed = terms.work.units / (terms.deadline_s - fixed_s(rates, labeling, terms))
    for name, most in limited(labeling.costs, scenario).items():
        if name != DRIVERS and most < needed:
            raise UsageError(
                f"no cluster labels {terms.work.units:,} units {labeling.name} within "
                f"{clock(terms.deadline_s)}: that needs {needed:.3g} units/s, and {name} "
                f"allows {most:.3g}, however many machines are used"
            )


def _enough(
    rates: MeasuredRates, labeling: LabelingRate, terms: Terms, more: float
) -> Choice | None:
    """The fewest labelers found that meet the deadline; None if none do."""
    most = max(1, terms.work.units)
    threads = rates.threads or 1
    left = terms.deadline_s - fixed_s(rates, labeling, terms)
    unit_s = labeling.unit_s / threads
    if not rates.machine.gpus:
        unit_s += float(labeling.decoded.cpu_s.mean()) / threads
    labelers = max(1, min(most, math.ceil(terms.work.units * unit_s / left)))
    for _ in range(_TRIES):
        rented = rent(rates, labeling, terms, labelers, more)
        scenario = scenario_for(rates, labeling, terms, rented)
        prediction = predict(rates, labeling, terms, scenario)
        if prediction.seconds <= terms.deadline_s:
            money = cost(labeling, terms, rented, prediction.seconds)
            return Choice(rented, prediction, money)
        if labelers == most:
            return None
        late = (prediction.seconds - terms.deadline_s + left) / left
        labelers = min(most, max(labelers + 1, math.ceil(labelers * min(late, 2.0))))
    return None
