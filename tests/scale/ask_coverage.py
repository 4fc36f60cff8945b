"""Coverage and size of answers from a sample, over many random orders of one population.

    python -m tests.scale.ask_coverage --draws 500
    python -m tests.scale.ask_coverage --differences
    python -m tests.scale.ask_coverage --reference OUTPUT --proxy OUTPUT

Asks each question once per draw, stops as soon as the interval is narrow enough, and prints how
often it holds the share, with how many references, beside a plain sample with intervals of the same
kind, and beside the sample of one size that Wilson's interval takes. Then the same of sets with a
recall of 95 %. The proxy scores of all units are known, or, for some, cost 0.02 of a reference
each; what is saved then counts both. With two runs, the labels of the first are
the references, and the top scores of the second are the proxy; `--units N` draws N of their videos
with replacement, as a larger archive of the same kind. With --differences, the difference of two
made populations (5 and 6 %, half a point) is asked, beside two intervals that are subtracted.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np

from pipeline.formatting import text_table
from pipeline.questions.intervals.allocation import Costs, next_round, plan
from pipeline.questions.intervals.prediction_powered import PredictionPowered
from pipeline.questions.intervals.selection import RecallSelection
from pipeline.statistics import share
from tests.scale.ask_questions import Question, made, of_runs
from tests.scale.difference_coverage import table as differences

_QUESTIONS = ((0.01, 0.005), (0.05, 0.005), (0.3, 0.02))
_PILOT = 200
_SCORE_COST = 0.02
_RECALL = 0.95
# Positives among the references that a set is made from.
_POSITIVES = 200


def _asked(question: Question, seed: int, kind: str) -> tuple[bool, int, int]:
    """Whether the interval at the stop holds the share; references and proxy scores it took.

    `kind` is "plain" for no proxy, "known" where the scores of all units are known at no cost, and
    "priced" where a score costs `_SCORE_COST` of a reference.
    """
    order = np.random.default_rng(seed).permutation(len(question.reference))
    reference, proxy = question.reference[order], question.proxy[order]
    units = len(order)
    answer = PredictionPowered(
        units,
        within=question.within,
        proxy_mean=float(proxy.mean()) if kind == "known" else None,
        use_proxy=kind != "plain",
    )
    seen, scored, until, scores_until = 0, 0, min(_PILOT, units), min(_PILOT, units)
    while True:
        scores = proxy[scored:scores_until] if kind == "priced" else proxy[seen:until]
        look = answer.add(reference[seen:until], () if kind == "plain" else scores)
        seen, scored = until, scores_until
        if look.half_width <= question.within or seen == units:
            return look.low <= question.share <= look.high, seen, scored
        planned = plan(
            *answer.pairs(),
            population=units,
            within=question.within,
            costs=Costs(1, _SCORE_COST),
            scored=units if kind == "known" else 0,
        )
        until, scores_until = next_round(planned, seen, scored)


def _selected(question: Question, seed: int) -> tuple[bool, int, int]:
    """Whether the set has the recall, its size, and the references it took."""
    reference = question.reference
    order = np.random.default_rng(seed).permutation(len(reference))
    selection = RecallSelection(question.proxy, recall=_RECALL)
    budget = _budget(question)
    seen, until = 0, min(_PILOT, budget)
    while seen < budget:
        found = selection.add(order[seen:until], reference[order[seen:until]])
        seen, until = until, min(budget, math.ceil(until * 1.5))
    return _kept(question, found.chosen), len(found.chosen), found.references


def _budget(question: Question) -> int:
    return min(len(question.reference) * 3 // 5, math.ceil(_POSITIVES / question.share))


def _kept(question: Question, chosen: np.ndarray) -> bool:
    reference = question.reference
    return bool(reference[chosen].sum() >= _RECALL * reference.sum() - 1e-9)


def _importance_selected(question: Question, seed: int) -> tuple[bool, int]:
    """SUPG's set for a recall target (arXiv:2004.00827, algorithm 4), of as many references."""
    draw = np.random.default_rng(seed)
    proxy, reference, draws = question.proxy, question.reference, _budget(question)
    root = np.sqrt(proxy)
    chances = 0.9 * root / root.sum() + 0.1 / len(proxy)
    drawn = draw.choice(len(proxy), draws, p=chances)
    weighted = reference[drawn] / chances[drawn] / len(proxy)
    scores = proxy[drawn]
    descending = np.argsort(-scores, kind="stable")
    recalls = np.cumsum(weighted[descending]) / max(weighted.sum(), 1e-12)

    def threshold(recall: float) -> float:
        place = min(int(np.searchsorted(recalls, recall - 1e-12)), draws - 1)
        return float(scores[descending][place])

    def bound(numbers: np.ndarray, sign: int) -> float:
        deviation = numbers.std() / math.sqrt(draws) * math.sqrt(2 * math.log(2 / 0.05))
        return float(max(numbers.mean() + sign * deviation, 0.0))

    first = threshold(_RECALL)
    above, below = bound(weighted * (scores >= first), 1), bound(weighted * (scores < first), -1)
    aim = above / (above + below) if above else 1.0
    positives = drawn[reference[drawn] == 1]
    chosen = np.union1d(np.flatnonzero(proxy >= threshold(aim)), positives)
    return _kept(question, chosen), len(chosen)


def _block(task: tuple[str, Question, range]) -> list[tuple[float, ...]]:
    kind, question, seeds = task
    if kind == "set":
        return [_selected(question, seed) for seed in seeds]
    if kind == "supg":
        return [_importance_selected(question, seed) for seed in seeds]
    return [_asked(question, seed, kind) for seed in seeds]


def _drawn(pool: ProcessPoolExecutor, kind: str, question: Question, draws: int) -> np.ndarray:
    blocks = [range(first, min(first + 25, draws)) for first in range(0, draws, 25)]
    rows = pool.map(_block, [(kind, question, block) for block in blocks])
    return np.array([row for block in rows for row in block], dtype=float)


def _fixed(question: Question) -> int:
    """References of one sample whose Wilson interval, of the true share, is narrow enough."""
    few, many, units = 0, len(question.reference), len(question.reference)
    while many - few > 1:
        size = (few + many) // 2
        # A sample without replacement counts for more; Wilson's interval knows draws with it.
        count = max(1, round(size / max(1 - size / units, 1 / units)))
        found = share(round(question.share * count), count)
        few, many = (few, size) if found.high - found.low <= 2 * question.within else (size, many)
    return many


def _percent(hits: np.ndarray) -> str:
    return share(int(hits.sum()), len(hits)).percent()


def _shares(
    pool: ProcessPoolExecutor, questions: list[Question], draws: int
) -> Iterator[list[str]]:
    plain = _drawn(pool, "plain", questions[0], draws)
    fixed = f"{_fixed(questions[0]):,}"
    cost = plain[:, 1].mean()
    yield ["plain sample", *_answer(questions[0], plain), "", "", fixed]
    for question in questions:
        known = _drawn(pool, "known", question, draws)
        saved = f"{100 * (1 - known[:, 1].mean() / cost):.0f} %"
        yield [question.name, *_answer(question, known), "all", saved, fixed]
        if question.proxy is questions[0].proxy or not question.name.startswith("labels"):
            priced = _drawn(pool, "priced", question, draws)
            scores = priced[:, 2].mean()
            saved = f"{100 * (1 - (priced[:, 1].mean() + _SCORE_COST * scores) / cost):.0f} %"
            name = f"  its scores at {_SCORE_COST:g}"
            yield [name, *_answer(question, priced), f"{scores:,.0f}", saved, fixed]


def _answer(question: Question, found: np.ndarray) -> list[str]:
    return [
        f"{100 * question.share:.2f} %",
        f"{100 * question.within:g}",
        _percent(found[:, 0]),
        f"{found[:, 1].mean():,.0f}",
    ]


def _sets(pool: ProcessPoolExecutor, questions: list[Question], draws: int) -> Iterator[list[str]]:
    for question in questions:
        found = _drawn(pool, "set", question, draws)
        other = _drawn(pool, "supg", question, draws)
        positive = np.sort(question.proxy[question.reference == 1])[::-1]
        lowest = positive[math.ceil(_RECALL * len(positive)) - 1]
        yield [
            question.name,
            f"{len(positive):,}",
            f"{int((question.proxy >= lowest).sum()):,}",
            f"{found[:, 2].mean():,.0f}",
            _percent(found[:, 0]),
            f"{found[:, 1].mean():,.0f}",
            _percent(other[:, 0]),
            f"{other[:, 1].mean():,.0f}",
        ]


def main() -> None:
    """Prints both tables, question by question."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--draws", type=int, default=500)
    parser.add_argument("--units", type=int, help="units of a population; 100,000 if made")
    parser.add_argument("--reference", help="OUTPUT of the run whose labels are the references")
    parser.add_argument("--proxy", help="OUTPUT of the run whose scores are the proxy")
    parser.add_argument("--differences", action="store_true", help="of two populations, alone")
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    if bool(arguments.reference) != bool(arguments.proxy):
        parser.error("--reference and --proxy go together")
    begun = time.monotonic()
    answers = [
        ["proxy", "share", "+- points", "holds it", "references", "scores", "saved", "Wilson"]
    ]
    sets = [["proxy", "positives", "smallest set", "references", "recall kept", "set"]]
    sets[0] += ["SUPG: recall kept", "set"]
    with ProcessPoolExecutor(arguments.processes, mp_context=get_context("spawn")) as pool:
        if arguments.differences:
            shown = list(differences(pool, arguments.units or 100_000, arguments.draws))
            print("\n".join(text_table(shown)), flush=True)
        for asked, within in () if arguments.differences else _QUESTIONS:
            if arguments.reference:
                runs = (arguments.reference, arguments.proxy)
                questions = [of_runs(*runs, asked, within, arguments.units)]
            else:
                questions = list(made(arguments.units or 100_000, asked, within))
            units = len(questions[0].reference)
            print(f"{100 * asked:g} % of {units:,} units, {arguments.draws} draws")
            shown = [*answers, *_shares(pool, questions, arguments.draws)]
            print("\n".join(text_table(shown)), flush=True)
            shown = [*sets, *_sets(pool, questions, arguments.draws)]
            print("\n".join(text_table(shown)), flush=True)
    print(f"{time.monotonic() - begun:.0f} s")


if __name__ == "__main__":
    main()
