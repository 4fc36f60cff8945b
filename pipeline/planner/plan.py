"""The whole plan: for pruned and unpruned labeling this machine's run and the cluster."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from pipeline.errors import UsageError
from pipeline.planner.cluster import Choice, Terms, choose
from pipeline.planner.predict import (
    Prediction,
    before_graph_s,
    pool_cores,
    predict,
    setting_of,
)
from pipeline.planner.rates import Labeling, Rates, Work


@dataclass(frozen=True)
class Here:
    """The pools of a run on the measured machine itself."""

    decoders: int
    labelers: int


@dataclass(frozen=True)
class Variant:
    """One way of labeling.

    Attributes:
        labeling: which, and how fast.
        here: the run on the measured machine.
        choice: the cluster for the deadline; None without a deadline, or where there is none.
        refusal: why there is none; None if there is one or none was asked for.
    """

    labeling: Labeling
    here: Prediction
    choice: Choice | None
    refusal: str | None


@dataclass(frozen=True)
class Plan:
    """What `jobs/plan.py` says.

    Attributes:
        rates: what was measured.
        work: what is to be labeled.
        pools: of a run on the measured machine.
        terms: what a cluster is chosen by; None without a deadline.
        variants: pruned and unpruned, or one of them.
    """

    rates: Rates
    work: Work
    pools: Here
    terms: Terms | None
    variants: tuple[Variant, ...]


def plan_for(rates: Rates, terms: Terms, pools: Here, *, with_cluster: bool) -> Plan:
    """Predicts and chooses for every way of labeling.

    Raises:
        UsageError: no way of labeling meets the deadline.
    """
    variants = []
    for labeling in rates.labelings:
        choice, refusal = None, None
        if with_cluster:
            try:
                choice = choose(rates, labeling, terms)
            except UsageError as error:
                refusal = str(error)
        here = run_here(rates, labeling, terms, pools)
        variants.append(Variant(labeling, here, choice, refusal))
    refusals = [each.refusal for each in variants if each.refusal]
    if len(refusals) == len(variants):
        raise UsageError(refusals[0])
    return Plan(rates, terms.work, pools, terms if with_cluster else None, tuple(variants))


def run_here(rates: Rates, labeling: Labeling, terms: Terms, pools: Here) -> Prediction:
    """A run of all the work on the measured machine."""
    grain, commit_rows = terms.graining(pools.decoders, pools.labelers)
    setting = setting_of(
        rates,
        labeling,
        decoders=pools.decoders,
        labelers=pools.labelers,
        nodes=1,
        cores=pool_cores(rates.machine.cores_left),
        grain=grain,
        commit_rows=commit_rows,
        buffer_units=terms.buffer_units,
        limits=terms.limits,
        preemptions=terms.preemptions,
    )
    before_s = before_graph_s(rates, terms.listing_s)
    costs = rates.costs(labeling)
    return predict(costs, terms.work, setting, before_s=before_s, views=terms.views)


def scaled(work: Work, *, videos: int | None, archive_hours: float | None) -> Work:
    """The same kind of videos, so many of them or so many hours; the work itself where neither
    is said.

    Raises:
        UsageError: both are said, or one that is not above 0.
    """
    if videos is not None and archive_hours is not None:
        raise UsageError("name --videos or --archive-hours, not both")
    if videos is None and archive_hours is None:
        return work
    given = float(videos) if videos is not None else float(archive_hours or 0.0)
    if not 0 < given < float("inf"):
        raise UsageError(f"--videos and --archive-hours must be above 0; got {given:g}")
    factor = given / work.videos if videos is not None else 3600 * given / work.video_s
    return dataclasses.replace(
        work,
        videos=max(1, round(work.videos * factor)),
        units=max(1, round(work.units * factor)),
        video_s=work.video_s * factor,
        bytes=work.bytes * factor,
        known_from="as asked for, of videos like the measured ones",
    )
