"""The smallest set that holds a wanted share of the units with a label, with a guarantee.

All units have a proxy score, and the set is those from a threshold of it up. Units in a random
order get a reference, round by round. The positives among them come in a random order too, so
that whether each is above a threshold is a draw, without replacement, from 0s and 1s whose mean is
the recall of that threshold: bets as in `capital.py` refute that it is too low. This is valid for
finite samples and at every look, for any proxy; nothing here is asymptotic.

Thresholds are tried from the lowest up until one is not certified. The first whose recall is too
low is one fixed threshold, so that trying many needs no correction.

D. Kang et al. (Approximate selection with guarantees using proxies, PVLDB 2020, arXiv:2004.00827)
draw references with weights of the square root of the proxy, and bound the recall by a normal
approximation. A bound that holds for finite samples cannot gain by that: positives that the
proxy misses may be where it is lowest, and only units drawn there can tell.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.questions.intervals.confidence_sequence import MeanSequence, check_alpha, numbers_in

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_THRESHOLDS = 200
# Bets as shares of the largest one. That loses all of its capital by one positive below.
_BETS = np.array([1.0, 0.85, 0.65, 0.4, 0.2])
_LOG_WEIGHTS = np.log([0.35, 0.25, 0.2, 0.12, 0.08])
# Part of alpha for the number of positives: what is left of few can be told from it.
_COUNT_ALPHA_SHARE = 0.05
_ROUNDING = 1e-6


@dataclass(frozen=True)
class Selection:
    """A set and what is known about it.

    Attributes:
        threshold: units with at least this proxy score are in the set, unless every unit has a
            reference.
        chosen: (n,) int64, numbers of the set's units, ascending: those from the threshold up, and
            all whose reference is positive.
        recall_low: lower bound of the set's recall, with the wanted confidence: the wanted recall,
            or 1 for the set of all units.
        recall: estimate; NaN before a positive unit was seen.
        precision: estimate of the share of positives in the set.
        references: units with a reference.
        positives: those of them that are positive.
    """

    threshold: float
    chosen: Ints
    recall_low: float
    recall: float
    precision: float
    references: int
    positives: int


@dataclass(frozen=True)
class _Round:
    """Positives seen before a round, and in it.

    Attributes:
        before: positives of earlier rounds.
        above_before: (thresholds,) those of them from each threshold up.
        count: positives of this round.
        above: (thresholds,) those of them from each threshold up.
    """

    before: int
    above_before: Ints
    count: int
    above: Ints


class RecallSelection:
    """The set after each round of references.

    Sizes of rounds may depend on earlier rounds, and units may come in any order that depends on
    neither proxy nor reference, such as that of a digest of their ids.

    Args:
        proxy: (units,) scores, 0 to 1, of the whole population.
        recall: share of the positive units that the set must hold, above 0 and below 1.
        alpha: 1 - confidence, at all looks together.

    Raises:
        ValueError: there is no unit, a score is NaN or beyond 0 to 1, or another argument is.
    """

    def __init__(self, proxy: npt.ArrayLike, *, recall: float = 0.95, alpha: float = 0.05) -> None:
        check_alpha(alpha)
        self._proxy = numbers_in(proxy, 0, 1, "proxy")
        if not len(self._proxy):
            raise ValueError("proxy must hold the score of one unit or more")
        if not 0 < recall < 1:
            raise ValueError(f"recall must be above 0 and below 1; got {recall:g}")
        self._recall = recall
        self._limit = math.log(1 / (alpha * (1 - _COUNT_ALPHA_SHARE)))
        self._thresholds = _thresholds(self._proxy)
        self._reference = np.full(len(self._proxy), -1, np.int8)
        self._share = MeanSequence(len(self._proxy), alpha * _COUNT_ALPHA_SHARE)
        self._rounds: list[_Round] = []
        self._certified = 0

    def add(self, numbers: npt.ArrayLike, references: npt.ArrayLike) -> Selection:
        """The set after another round.

        Args:
            numbers: (b,) the next units of the random order, as indices of `proxy`; none twice.
            references: (b,) 0 or 1 for each.

        Raises:
            ValueError: a unit has a reference already, or a reference is neither 0 nor 1.
            IndexError: there is no such unit.
        """
        units = np.asarray(numbers, np.int64)
        found = numbers_in(references, 0, 1, "references")
        if units.shape != found.shape or not np.isin(found, (0, 1)).all():
            raise ValueError(f"references must be 0 or 1, one for each of {units.size} units")
        if len(np.unique(units)) < len(units) or (self._reference[units] >= 0).any():
            raise ValueError("numbers must be units without a reference, none of them twice")
        if len(units):
            self._add(units, found)
        return self.selection()

    def _add(self, units: Ints, found: Floats) -> None:
        seen = self._proxy[self._reference == 1]
        new = self._proxy[units[found == 1]]
        before, count = _counts_from(seen, self._thresholds), _counts_from(new, self._thresholds)
        self._rounds.append(_Round(len(seen), before, len(new), count))
        self._reference[units] = found
        self._share.add(found)
        kept = self._log_capital() >= self._limit
        # What was certified at an earlier look stays so.
        kept[: self._certified] = True
        self._certified = len(kept) if kept.all() else int(np.argmin(kept))

    def _log_capital(self) -> Floats:
        """(thresholds,) logarithms of the capital against a recall below the wanted one."""
        share = self._share.interval()
        ends = whole_numbers(share.low, share.high, len(self._proxy))
        total = np.zeros((len(self._thresholds), len(_BETS)))
        for each in self._rounds:
            if each.count == 0:
                continue
            # Share of positives above, of those not seen before the round, if the recall were the
            # wanted one: the largest that is possible makes the capital smallest.
            left = np.maximum(np.array(ends) - each.before, each.count)[:, None]
            shares = (self._recall * (left + each.before) - each.above_before) / left
            mean = np.clip(shares.max(axis=0), 1e-9, 1.0)[:, None]
            bets = _BETS / mean
            with np.errstate(divide="ignore", invalid="ignore"):
                lost = np.log1p(-bets * mean)
                below = (each.count - each.above)[:, None]
                total += each.above[:, None] * np.log1p(bets * (1 - mean))
                total += np.where(below > 0, below * lost, 0.0)
        return np.asarray(np.logaddexp.reduce(total + _LOG_WEIGHTS, axis=1))

    def selection(self) -> Selection:
        """The set so far: all units until a threshold is certified, and the positives alone once
        every unit has a reference.
        """
        threshold = float(self._thresholds[max(0, self._certified - 1)])
        if (self._reference >= 0).all():
            held = np.flatnonzero(self._reference == 1)
            return Selection(threshold, held, 1.0, 1.0, 1.0, len(self._reference), len(held))
        above = self._proxy >= threshold
        positive, seen = self._reference == 1, self._reference >= 0
        chosen = np.flatnonzero(above | positive)
        positives, references = int(positive.sum()), int(seen.sum())
        seen_above = int((above & seen).sum())
        hits_above = int((above & positive).sum())
        unseen = int((above & ~seen).sum())
        expected = positives + (unseen * hits_above / seen_above if seen_above else math.nan)
        whole = positives / references * len(above) if references else math.nan
        return Selection(
            threshold,
            chosen,
            1.0 if len(chosen) == len(above) else self._recall,
            min(1.0, expected / whole) if positives else math.nan,
            expected / len(chosen),
            references,
            positives,
        )


def whole_numbers(low: float, high: float, units: int) -> tuple[int, int]:
    """The fewest and the most of so many units that are a share of `low` to `high`."""
    # A share of units times their number may be a little more or less than a whole number.
    return math.ceil(low * units - _ROUNDING), math.floor(high * units + _ROUNDING)


def _thresholds(proxy: Floats) -> Floats:
    """Scores at which a set may begin, ascending: by rank from the top, dense where sets are small.

    The lowest keeps all units.
    """
    ordered = np.sort(proxy)[::-1]
    sizes = np.unique(np.geomspace(1, len(ordered), _THRESHOLDS).astype(np.int64))
    return np.unique(np.concatenate([ordered[sizes - 1], ordered[-1:]]))


def _counts_from(scores: Floats, thresholds: Floats) -> Ints:
    """(thresholds,) how many scores are at or above each threshold."""
    below = np.searchsorted(np.sort(scores), thresholds, side="left")
    return np.asarray(len(scores) - below, np.int64)
