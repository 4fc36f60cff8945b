"""Predicts the duration of a run on given pools, from measured rates; start and end included."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from pipeline.execution.block_size import Grain
from pipeline.execution.driver_rate import driver_units_per_s
from pipeline.planner.rates import LabelingRate, MeasuredRates, Workload
from pipeline.planner.scenario import Limits, Scenario
from pipeline.planner.simulation import SimulationResult, simulate
from pipeline.planner.unit_costs import UnitCosts
from pipeline.prices import Prices

# Seconds of a start, beside those of processes that load the program's libraries, measured on two
# cores: starting Ray 4.5; planning the graph, its own actors and the first tasks 5. Joining a
# cluster is quicker.
RAY_START_S = 4.5
GRAPH_START_S = 5.0

# Cores that Ray's own processes, the driver and the graph's own tasks take while a graph runs:
# `python jobs/benchmark.py pipeline` holds 1.21 times a plain loop's core-seconds on two cores, so
# 0.21 / 1.21 of these two are not the actors'. Where other programs take cores they get less too.
RAY_SHARE = 0.21 / 1.21
RAY_CORES = 2 * RAY_SHARE

# The last commit, the graph's own end, and the report.
GRAPH_END_S = 1.4

# Name of the limit of all drivers together.
DRIVERS = "driver (rows)"

# Tables and their proof, per view: `python -m tests.scale.tables_at_size`, 62 s for 5 million.
TABLES_S_PER_VIEW = 62 / 5e6


@dataclass(frozen=True)
class Terms:
    """What to label, and what is required and allowed.

    Attributes:
        work: what to label.
        deadline_s: seconds from the command's start.
        prices: of machines and storage; None if unknown.
        grain_of: block sizes and units per commit of a run, by its decoders, its labelers and
            whether it uses early exit.
        buffer_units: decoded units that the object store of one machine holds.
        preemptions: machines lost per machine and hour.
        limits: of storage, driver and commits.
        listing_s: seconds of listing the work.
        drivers: number of drivers; None for as many as keep up with the labelers.
    """

    work: Workload
    deadline_s: float
    prices: Prices | None
    grain_of: Callable[[int, int, bool], tuple[Grain, int]]
    buffer_units: int
    preemptions: float
    limits: Limits
    listing_s: float
    drivers: int | None = None


@dataclass(frozen=True)
class Prediction:
    """Predicted duration of a run.

    Attributes:
        before_s: from the command's start to the graph's.
        graph_s: from the first decoder's first work to the last commit, as run.json's
            `totals.stages.wall_s` nearly counts it.
        after_s: from there to _SUCCESS.
        outcome: of the simulation.
        capacities: units per second of each part of the run, by itself.
        bottleneck: the part with the least capacity.
        drivers: number of drivers.
    """

    before_s: float
    graph_s: float
    after_s: float
    outcome: SimulationResult
    capacities: dict[str, float]
    bottleneck: str
    drivers: int = 1

    @property
    def seconds(self) -> float:
        """From the command's start to _SUCCESS."""
        return self.before_s + self.graph_s + self.after_s


def predict(
    rates: MeasuredRates, labeling: LabelingRate, terms: Terms, scenario: Scenario
) -> Prediction:
    """Simulates a run of all the work."""
    costs, units = labeling.costs, terms.work.units
    outcome = simulate(costs, units, scenario)
    parts = capacities(costs, scenario)
    return Prediction(
        before_s=before_graph_s(rates, terms.listing_s) + scenario.decoder_start_s,
        graph_s=outcome.seconds - scenario.decoder_start_s,
        after_s=GRAPH_END_S + TABLES_S_PER_VIEW * labeling.views * units,
        outcome=outcome,
        capacities=parts,
        bottleneck=min(parts, key=lambda name: parts[name]),
        drivers=scenario.drivers,
    )


def before_graph_s(rates: MeasuredRates, listing_s: float) -> float:
    """From the command's start until its graph starts: libraries, listing, Ray."""
    return rates.started_s + listing_s + RAY_START_S


def pool_cores(cores: float) -> float:
    """Cores of a machine that Ray leaves to actors."""
    return cores - min(RAY_CORES, RAY_SHARE * cores)


def actor_start_s(
    rates: MeasuredRates, labeling: LabelingRate, *, actors_per_core: float = 1.0
) -> tuple[float, float]:
    """From the graph's start until (a decoder, a labeler) works.

    Every decoder is a process with most of the program's libraries; both pools start at once, and
    what a labeler takes was measured.

    Args:
        rates: of the machine.
        labeling: the way of labeling.
        actors_per_core: of both pools; above 1 they wait for each other while they load libraries.
    """
    waiting = max(1.0, actors_per_core)
    return GRAPH_START_S + waiting * rates.started_s, GRAPH_START_S + waiting * labeling.start_s


def scenario_of(
    rates: MeasuredRates,
    labeling: LabelingRate,
    terms: Terms,
    *,
    decoders: int,
    labelers: int,
    nodes: int,
    cores: float,
) -> Scenario:
    """Scenario of a run on these pools; `cores` are those left to them."""
    grain, commit_rows = terms.grain_of(decoders, labelers, labeling.adaptive)
    decoder_s, labeler_s = actor_start_s(
        rates, labeling, actors_per_core=(decoders + labelers) / max(1.0, nodes * cores)
    )
    each = terms.limits.rows_per_s or driver_units_per_s(grain.decode_rows)
    labeled_per_s = labelers * (rates.threads or 1) / labeling.unit_s
    drivers = terms.drivers or min(labelers, max(1, math.ceil(labeled_per_s / each)))
    return Scenario(
        decoders=decoders,
        labelers=labelers,
        cores=cores,
        labeler_threads=rates.threads,
        nodes=nodes,
        decode_rows=grain.decode_rows,
        label_rows=grain.label_rows,
        commit_rows=commit_rows,
        buffer_units=terms.buffer_units * nodes,
        decoder_start_s=decoder_s,
        labeler_start_s=labeler_s,
        preemptions_per_node_hour=terms.preemptions,
        drivers=drivers,
        limits=replace(terms.limits, rows_per_s=drivers * each),
    )


def capacities(costs: UnitCosts, scenario: Scenario) -> dict[str, float]:
    """Units per second of each part of a run, if all others were infinitely fast."""
    decode_cpu, label = costs.mean("decode_cpu_s"), costs.mean("label_s")
    threads = scenario.labeler_threads
    cpu_s = decode_cpu + (0.0 if threads is None else label)
    return {
        "decoders": scenario.decoders / (decode_cpu + costs.mean("decode_wait_s")),
        "labelers": scenario.labelers * (threads or 1) / label,
        "cores": scenario.cores / cpu_s,
    } | limited(costs, scenario)


def limited(costs: UnitCosts, scenario: Scenario) -> dict[str, float]:
    """The same of the parts that more machines do not speed up, where they have a limit."""
    limits = scenario.limits
    found = {
        "storage bandwidth": _over(limits.storage_bytes_per_s, costs.mean("bytes_read")),
        "storage requests": _over(limits.storage_requests_per_s, scenario.requests_per_unit),
        DRIVERS: limits.rows_per_s,
        "commits": _times(limits.commits_per_s, scenario.commit_rows),
    }
    return {name: value for name, value in found.items() if value is not None}


def _over(limit: float | None, each: float) -> float | None:
    return None if limit is None or each <= 0 else limit / each


def _times(limit: float | None, each: float) -> float | None:
    return None if limit is None else limit * each
