"""From measured rates to what a run on given pools takes, start-up and end included."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.execution.block_size import Grain
from pipeline.planner.costs import Costs
from pipeline.planner.rates import Labeling, Rates, Work
from pipeline.planner.setting import Limits, Setting
from pipeline.planner.simulation import Outcome, simulate

# Seconds of a start, beside those of processes that load the program's libraries, measured on two
# cores: starting Ray 4.5; planning the graph and the first tasks 3. Joining a cluster is quicker.
RAY_START_S = 4.5
GRAPH_START_S = 3.0

# Cores that Ray's own processes, the driver and the graph's own tasks take while a graph runs:
# `python jobs/benchmark.py pipeline` holds 1.21 times a plain loop's core-seconds on two cores, so
# 0.21 / 1.21 of these two are not the actors'. Where other programs take cores they get less too.
RAY_SHARE = 0.21 / 1.21
RAY_CORES = 2 * RAY_SHARE

# The last commit, and the graph's own end.
GRAPH_END_S = 0.9

# Tables and their proof, per view: `python -m tests.scale.tables_at_size`, 62 s for 5 million.
TABLES_S_PER_VIEW = 62 / 5e6


@dataclass(frozen=True)
class Prediction:
    """What a run takes.

    Attributes:
        before_s: from the command's start to the graph's.
        graph_s: from the first decoder's first work to the last commit, as run.json's
            `totals.stages.wall_s` nearly counts it.
        after_s: from there to _SUCCESS.
        outcome: of the simulation.
        capacities: units per second that each part of the run could do alone.
        bottleneck: the part that could do least.
    """

    before_s: float
    graph_s: float
    after_s: float
    outcome: Outcome
    capacities: dict[str, float]
    bottleneck: str

    @property
    def seconds(self) -> float:
        """From the command's start to _SUCCESS."""
        return self.before_s + self.graph_s + self.after_s


def predict(
    costs: Costs,
    work: Work,
    setting: Setting,
    *,
    before_s: float,
    views: int,
    seed: int = 0,
) -> Prediction:
    """Simulates a run; `views` are those of a unit."""
    outcome = simulate(costs, work.units, setting, seed=seed)
    parts = capacities(costs, setting)
    return Prediction(
        before_s=before_s + setting.decoder_start_s,
        graph_s=outcome.seconds - setting.decoder_start_s,
        after_s=GRAPH_END_S + TABLES_S_PER_VIEW * views * work.units,
        outcome=outcome,
        capacities=parts,
        bottleneck=min(parts, key=lambda name: parts[name]),
    )


def before_graph_s(rates: Rates, listing_s: float) -> float:
    """From the command's start until its graph starts: libraries, listing, Ray."""
    return rates.started_s + listing_s + RAY_START_S


def pool_cores(cores: float) -> float:
    """What Ray leaves the actors of a machine's cores."""
    return cores - min(RAY_CORES, RAY_SHARE * cores)


def actor_start_s(rates: Rates, labeling: Labeling) -> tuple[float, float]:
    """From the graph's start until (a decoder, a labeler) works.

    Every decoder is a process with most of the program's libraries; both pools start at once, and
    what a labeler takes was measured.
    """
    return GRAPH_START_S + rates.started_s, GRAPH_START_S + labeling.start_s


def setting_of(
    rates: Rates,
    labeling: Labeling,
    *,
    decoders: int,
    labelers: int,
    nodes: int,
    cores: float,
    grain: Grain,
    commit_rows: int,
    buffer_units: int,
    limits: Limits,
    preemptions: float = 0.0,
) -> Setting:
    """What a simulated run of these pools runs on; `cores` are those left to the pools."""
    decoder_s, labeler_s = actor_start_s(rates, labeling)
    return Setting(
        decoders=decoders,
        labelers=labelers,
        cores=cores,
        labeler_threads=rates.threads,
        nodes=nodes,
        decode_rows=grain.decode_rows,
        label_rows=grain.label_rows,
        commit_rows=commit_rows,
        buffer_units=buffer_units,
        decoder_start_s=decoder_s,
        labeler_start_s=labeler_s,
        preemptions_per_node_hour=preemptions,
        limits=limits,
    )


def capacities(costs: Costs, setting: Setting) -> dict[str, float]:
    """Units per second of each part of a run, were all others infinitely fast."""
    decode_cpu, label = costs.mean("decode_cpu_s"), costs.mean("label_s")
    threads = setting.labeler_threads
    cpu_s = decode_cpu + (0.0 if threads is None else label)
    return {
        "decoders": setting.decoders / (decode_cpu + costs.mean("decode_wait_s")),
        "labelers": setting.labelers * (threads or 1) / label,
        "cores": setting.cores / cpu_s,
    } | limited(costs, setting)


def limited(costs: Costs, setting: Setting) -> dict[str, float]:
    """The same of the parts that more machines do not widen, where they have a limit."""
    limits = setting.limits
    found = {
        "storage bandwidth": _over(limits.storage_bytes_per_s, costs.mean("bytes_read")),
        "storage requests": _over(limits.storage_requests_per_s, setting.requests_per_unit),
        "driver (rows)": limits.rows_per_s,
        "commits": _times(limits.commits_per_s, setting.commit_rows),
    }
    return {name: value for name, value in found.items() if value is not None}


def _over(limit: float | None, each: float) -> float | None:
    return None if limit is None or each <= 0 else limit / each


def _times(limit: float | None, each: float) -> float | None:
    return None if limit is None else limit * each
