"""The plan: for pruned and unpruned labeling, the run on this machine and the cluster to rent."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from pipeline.errors import UsageError
from pipeline.planner.cluster import Choice, choose
from pipeline.planner.local_pools import LocalPools
from pipeline.planner.predict import Prediction, Terms, pool_cores, predict, scenario_of
from pipeline.planner.rates import LabelingRate, MeasuredRates, Workload


@dataclass(frozen=True)
class PlanVariant:
    """The plan of pruned or of unpruned labeling.

    Attributes:
        labeling: which, and its rate.
        local: the run on the measured machine.
        choice: the cluster for the deadline; None without a deadline, or where no cluster meets it.
        refusal: why no cluster meets the deadline; else None.
    """

    labeling: LabelingRate
    local: Prediction
    choice: Choice | None
    refusal: str | None


@dataclass(frozen=True)
class Plan:
    """What `jobs/plan.py` reports.

    Attributes:
        rates: as measured.
        work: what to label.
        pools: of a run on the measured machine.
        terms: requirements of the cluster; None without a deadline.
        variants: pruned and unpruned, or one of them.
    """

    rates: MeasuredRates
    work: Workload
    pools: LocalPools
    terms: Terms | None
    variants: tuple[PlanVariant, ...]


def plan_for(rates: MeasuredRates, terms: Terms, pools: LocalPools, *, with_cluster: bool) -> Plan:
    """Predicts the local run and chooses a cluster, pruned and unpruned.

    Raises:
        UsageError: neither meets the deadline.
    """
    variants = []
    for labeling in rates.labelings:
        choice, refusal = None, None
        if with_cluster:
            try:
                choice = choose(rates, labeling, terms)
            except UsageError as error:
                refusal = str(error)
        scenario = scenario_of(
            rates,
            labeling,
            terms,
            decoders=pools.decoders,
            labelers=pools.labelers,
            nodes=1,
            cores=pool_cores(rates.machine.cores_left),
        )
        local = predict(rates, labeling, terms, scenario)
        variants.append(PlanVariant(labeling, local, choice, refusal))
    refusals = [each.refusal for each in variants if each.refusal]
    if len(refusals) == len(variants):
        raise UsageError(refusals[0])
    return Plan(rates, terms.work, pools, terms if with_cluster else None, tuple(variants))


def scaled(work: Workload, *, videos: int | None, archive_hours: float | None) -> Workload:
    """The work scaled to a number of videos or to hours of video; unchanged if neither is given."""
    if videos is not None:
        factor = videos / work.videos
    elif archive_hours is not None:
        factor = 3600 * archive_hours / work.video_s
    else:
        return work
    return dataclasses.replace(
        work,
        videos=max(1, round(work.videos * factor)),
        units=max(1, round(work.units * factor)),
        video_s=work.video_s * factor,
        bytes=work.bytes * factor,
        known_from="as requested, of videos like the measured ones",
    )
