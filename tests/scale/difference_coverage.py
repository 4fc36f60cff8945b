"""Coverage and size of differences of two made populations, for `ask_coverage.py`."""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import numpy as np

from pipeline.questions.contributions import Contribution, contributed, expected_half_width
from pipeline.questions.intervals.allocation import Costs, next_round, plan
from pipeline.questions.intervals.difference import DIFFERENCE_ALPHA_SHARE, Difference
from pipeline.questions.intervals.pairs import PairMoments
from pipeline.questions.intervals.prediction_powered import PredictionPowered
from pipeline.statistics import share
from tests.scale.ask_questions import Question, made

SHARES = 0.05, 0.06
_ALPHA = 0.05
_PILOT = 200
_WITHIN = 0.005
_SCORE_COST = 0.02


@dataclass
class _Side:
    """A population in a random order, and its own interval."""

    question: Question
    order: np.ndarray
    own: PredictionPowered
    kind: str
    seen: int = 0
    scored: int = 0

    @property
    def units(self) -> int:
        return len(self.order)

    def add(self, until: int, scores_until: int) -> None:
        reference, proxy = self.question.reference, self.question.proxy
        rows = self.order[self.seen : until]
        scored = self.order[self.scored : scores_until] if self.kind == "priced" else rows
        self.own.add(reference[rows], () if self.kind == "plain" else proxy[scored])
        self.seen, self.scored = until, scores_until if self.kind == "priced" else 0

    def grow(self, aim: float, alpha: float) -> None:
        planned = plan(
            *self.own.pairs(),
            population=self.units,
            within=aim,
            costs=Costs(1, _SCORE_COST),
            alpha=alpha,
            scored=self.units if self.kind == "known" else self.scored,
        )
        self.add(*next_round(planned, self.seen, self.scored))

    def contribution(self) -> Contribution:
        variance = PairMoments.of(*self.own.pairs()).least_variance()
        return Contribution(variance, self.units, self.seen)


def asked(
    questions: tuple[Question, Question], seed: int, kind: str, *, is_joint: bool
) -> tuple[bool, int, int]:
    """Whether the interval at the stop holds the difference; references and scores of both sides.

    Args:
        questions: both populations.
        seed: of the orders.
        kind: as in `ask_coverage.py`.
        is_joint: whether the difference has one interval; else two are subtracted.
    """
    draw = np.random.default_rng(seed)
    own_alpha = _ALPHA * (1 - DIFFERENCE_ALPHA_SHARE) / 2 if is_joint else _ALPHA / 2
    own_within = _WITHIN / math.sqrt(2) if is_joint else _WITHIN / 2
    sides = []
    for question in questions:
        own = PredictionPowered(
            len(question.reference),
            alpha=own_alpha,
            within=own_within,
            proxy_mean=float(question.proxy.mean()) if kind == "known" else None,
            use_proxy=kind != "plain",
        )
        sides.append(_Side(question, draw.permutation(len(question.reference)), own, kind))
    alpha = _ALPHA * DIFFERENCE_ALPHA_SHARE
    difference = Difference(sides[0].own, sides[1].own, alpha, _WITHIN) if is_joint else None
    for side in sides:
        side.add(_PILOT, _PILOT)
    while True:
        if difference is not None:
            found = difference.look()
            low, high = found.low, found.high
        else:
            one, other = (side.own.look() for side in sides)
            low, high = one.low - other.high, one.high - other.low
        if high - low <= 2 * _WITHIN or all(side.seen == side.units for side in sides):
            truth = questions[0].share - questions[1].share
            references, scores = (
                sum(getattr(side, name) for side in sides) for name in ("seen", "scored")
            )
            return low <= truth <= high, references, scores
        aims = [_WITHIN / 2] * 2
        if is_joint:
            contributions = sides[0].contribution(), sides[1].contribution()
            width = (high - low) / 2
            if kind != "plain":
                width = expected_half_width(contributions, alpha)
            halves = contributed(contributions, width, _WITHIN)
            aims = [aim for _, aim in halves]
        for side, aim in zip(sides, aims, strict=True):
            if side.seen < side.units:
                side.grow(aim, alpha if is_joint else own_alpha)


def _block(task: tuple[tuple[Question, Question], range, str, bool]) -> list[tuple[bool, int, int]]:
    questions, seeds, kind, is_joint = task
    return [asked(questions, seed, kind, is_joint=is_joint) for seed in seeds]


def table(pool: ProcessPoolExecutor, units: int, draws: int) -> Iterator[list[str]]:
    """A row per proxy: how often one interval holds the difference, from how many units of both
    sides, and how often two that are subtracted do.
    """
    head = ["proxy", "scores", "holds it", "references", "scores", "subtracted: holds it"]
    yield [*head, "references", "scores", "saved"]
    both = [list(made(units, each, _WITHIN)) for each in SHARES]
    by_name = [{question.name: question for question in side} for side in both]
    asked_for = [("no proxy", "useless", "plain")]
    for name in ("labels, 99% agree", "labels, 97% agree", "probabilities"):
        asked_for += [(name, name, "known"), (f"  its scores at {_SCORE_COST:g}", name, "priced")]
    asked_for.append(("useless", "useless", "known"))
    for shown, name, kind in asked_for:
        questions = (by_name[0][name], by_name[1][name])
        joint, apart = (_drawn(pool, questions, kind, draws, each) for each in (True, False))
        costs = [each[:, 1].mean() + _SCORE_COST * each[:, 2].mean() for each in (joint, apart)]
        yield [
            shown,
            kind,
            *_found(joint),
            *_found(apart),
            f"{100 * (1 - costs[0] / costs[1]):.0f} %",
        ]


def _found(found: np.ndarray) -> list[str]:
    held = share(int(found[:, 0].sum()), len(found)).percent()
    return [held, f"{found[:, 1].mean():,.0f}", f"{found[:, 2].mean():,.0f}"]


def _drawn(
    pool: ProcessPoolExecutor,
    questions: tuple[Question, Question],
    kind: str,
    draws: int,
    is_joint: bool,
) -> np.ndarray:
    blocks = [range(first, min(first + 25, draws)) for first in range(0, draws, 25)]
    found = pool.map(_block, [(questions, block, kind, is_joint) for block in blocks])
    return np.array([each for block in found for each in block], dtype=float)
