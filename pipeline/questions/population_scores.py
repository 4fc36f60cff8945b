"""Scores of a whole population, which an earlier run has: held once, found by unit.

In memory are 8 bytes for the id of each unit, 4 for each label that is asked for, and 2 more. The
run's tables are read a few thousand rows at a time.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from pipeline.errors import UsageError
from pipeline.questions.columns import Groups
from pipeline.questions.outcomes import Outcomes, label_scores
from pipeline.questions.sample import ids_of
from pipeline.reports.run.rows import column_batches
from pipeline.run.run_directory import RunDirectory
from pipeline.run.video_digests import digests_of, unpacked
from pipeline.storage.location import Location
from pipeline.storage.parquet_files import read_parquet
from workers.schema import UNITS_SCHEMA

Ids = npt.NDArray[np.bytes_]
Keys = npt.NDArray[np.uint64]
Flags = npt.NDArray[np.bool_]

# The first digits of an id, 64 bits: among 100 million units the chance that any two share them, so
# that one has the scores of the other, is 1 in 3,700.
KEY_DIGITS = 16

_OTHER, _FAILED, _ABSENT = -1, -2, -3

# Numbers of the first units, in which flags are counted.
_PREFIXES = 64
# Probability that flags that are spread by chance are taken for uneven.
_MISTAKEN = 1e-6


@dataclass(frozen=True)
class PopulationScores:
    """Scores of n units, in the order of their ids; 0 where the run has no label of a unit.

    Attributes:
        keys: (n,) first digits of the ids, ascending.
        groups: (n,) int8, numbers of the units' groups.
        scores: (n, labels) float32, mean probability of each label that is asked for.
        chosen: (n,) int8, which of these is the unit's label; below 0 for another or none.
        known: (n,) whether the run's head was trained on the unit's video; None if not known.
    """

    keys: Keys
    groups: npt.NDArray[np.int8]
    scores: npt.NDArray[np.float32]
    chosen: npt.NDArray[np.int8]
    known: Flags | None = None

    @classmethod
    def read(
        cls,
        run: RunDirectory,
        labels: Sequence[int],
        *,
        manifest: Location,
        groups: Groups,
        trained_on: str = "",
    ) -> PopulationScores:
        """The scores that a run has of the units of a manifest.

        Args:
            run: the run.
            labels: numbers of the run's classes that are asked for.
            manifest: of the population.
            groups: of its units.
            trained_on: videos that the run's head was trained on, as of `video_digests.py`; "" if
                not known.

        Raises:
            UsageError: the run has labels without probabilities.
            OSError, pa.ArrowException: a table cannot be read.
        """
        keys, numbers = [np.empty(0, np.uint64)], [np.empty(0, np.int8)]
        known, trained = [np.empty(0, np.bool_)], unpacked(trained_on)
        has_names = len(groups.units) > 1 or bool(trained_on)
        for file in manifest.files(".parquet"):
            table = read_parquet(file, ["unit_id", "video_id"] if has_names else ["unit_id"])
            keys.append(keys_of(ids_of(table["unit_id"])))
            if not has_names:
                numbers.append(np.zeros(table.num_rows, np.int8))
                continue
            names = table["video_id"].to_pylist()
            numbers.append(groups.of(names).astype(np.int8))
            if trained_on:
                known.append(np.isin(digests_of(names), trained))
        joined = np.concatenate(keys)
        order = np.argsort(joined, kind="stable")
        made = cls(
            keys=joined[order],
            groups=np.concatenate(numbers)[order],
            scores=np.zeros((len(order), len(labels)), np.float32),
            chosen=np.full(len(order), _ABSENT, np.int8),
            known=np.concatenate(known)[order] if trained_on else None,
        )
        made._fill(run, labels)
        return made

    def _fill(self, run: RunDirectory, labels: Sequence[int]) -> None:
        columns = ("unit_id", "status", "label_id", "scores")
        for rows in column_batches(run.units, UNITS_SCHEMA, columns):
            places = self.places(ids_of(rows["unit_id"]))
            ok = np.asarray(pc.equal(rows["status"], "ok"))
            if pc.any(pc.is_null(rows["scores"].filter(pc.equal(rows["status"], "ok")))).as_py():
                raise UsageError(
                    f"--proxy-run {run.root.uri} has labels without probabilities (scores in "
                    "units/); name the OUTPUT of a labeling job or of jobs/relabel.py"
                )
            self.chosen[places[(places >= 0) & ~ok]] = _FAILED
            known = (places >= 0) & ok
            scores = label_scores(rows["scores"], labels)[known]
            self.scores[places[known]] = np.clip(scores, 0.0, 1.0)
            label = np.asarray(pc.fill_null(rows["label_id"], -1))[known]
            chosen = np.full(len(label), _OTHER, np.int8)
            for column, number in enumerate(labels):
                chosen[label == number] = column
            self.chosen[places[known]] = chosen

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def labeled(self) -> int:
        """Units that the run labeled."""
        return int((self.chosen >= _OTHER).sum())

    @property
    def failed(self) -> int:
        """Units that failed in the run."""
        return int((self.chosen == _FAILED).sum())

    def places(self, ids: Ids) -> npt.NDArray[np.int64]:
        """(m,) rows of units; -1 for those that are not of the population."""
        keys = keys_of(ids)
        if not len(self.keys):
            return np.full(len(keys), -1)
        places = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        return np.where(self.keys[places] == keys, places, -1)

    def outcomes(self, sample: Outcomes) -> Outcomes:
        """The units of a sample with these labels and scores in place of its own."""
        places = self.places(sample.unit_ids)
        chosen, scores = self.chosen[places], self.scores[places].astype(np.float64)
        chosen[places < 0], scores[places < 0] = _ABSENT, 0.0
        found = (chosen[:, None] == np.arange(scores.shape[1])).astype(np.float64)
        ok = chosen >= _OTHER
        return dataclasses.replace(sample, ok=ok, found=found, clips=found, scores=scores)

    def mean(self, label: int, group: int | None) -> float:
        """Mean score of the population's units, or of those of a group."""
        scores = self.scores[:, label]
        rows = slice(None) if group is None else self.groups == group
        return min(1.0, float(scores[rows].mean(dtype=np.float64)))

    def lacks_a_part(self) -> bool:
        """Whether the units without a label are not spread over the ids as chance spreads them: the
        run lost a part of their order, in which samples are taken, such as to an outage.
        """
        return _is_uneven(self.chosen < _OTHER)

    def knows_a_sample(self, first: int) -> bool:
        """Whether the videos that the head was trained on are not spread over the ids as chance
        spreads them: they are those of a sample.

        Args:
            first: units, by their ids, that answer without the proxy, so that it may know them.
        """
        return self.known is not None and _is_uneven(self.known[first:])


def _is_uneven(flags: Flags) -> bool:
    """Whether flags of units in the order of their ids are not spread over it by chance.

    Spread by chance, they are taken for uneven one in a million times, by Hoeffding's bound for
    draws without replacement (Journal of the American Statistical Association, 1963).
    """
    counts = np.cumsum(flags)
    first = np.unique(np.geomspace(1, max(1, len(counts)), _PREFIXES).astype(np.int64))
    if not len(counts) or not 0 < counts[-1] < len(counts):
        return False
    share, seen = counts[-1] / len(counts), counts[first - 1] / first
    apart = _relative_entropy(seen, share)
    return bool((first * apart).max() > math.log(2 * len(first) / _MISTAKEN))


def _relative_entropy(seen: npt.NDArray[np.float64], share: float) -> npt.NDArray[np.float64]:
    """(n,) of shares, each to one share between 0 and 1, in nats."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ones = np.where(seen > 0, seen * np.log(seen / share), 0.0)
        others = np.where(seen < 1, (1 - seen) * np.log((1 - seen) / (1 - share)), 0.0)
    return np.asarray(ones + others)


def keys_of(ids: Ids) -> Keys:
    """(n,) the first digits of hexadecimal ids as numbers, which sort as the ids do."""
    if not len(ids):
        return np.empty(0, np.uint64)
    letters = ids.astype(f"S{KEY_DIGITS}").view(np.uint8).reshape(len(ids), KEY_DIGITS)
    digits = np.where(letters >= ord("a"), letters - (ord("a") - 10), letters - ord("0"))
    keys = np.zeros(len(ids), np.uint64)
    for column in digits.astype(np.uint64).T:
        keys = (keys << np.uint64(4)) | column
    return keys
