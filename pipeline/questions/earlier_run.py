"""An earlier run over the same videos as the proxy of a question, at no cost.

Its scores are known of the whole population before the question begins, so their mean takes no part
of alpha.

A proxy of the question's own may have labeled every unit by some round too, and its mean is exact
from then on. But the tenth of alpha that was set aside for it cannot be given back: a question may
end at an earlier round, whose interval of the mean may have missed at this probability, and whether
there is an earlier round depends on labels. Nor does a question that is asked again take a complete
proxy for one that was known before, since the rounds that completed it would then have another
answer. Its run can be named as the earlier run of a new question.

Samples are taken in the order of unit ids, so no score may depend on that order. A run of a sample,
or with a budget that is spent in that order, is refused, and so is one that lost a part of it, or
whose head was trained on a sample.
"""

from __future__ import annotations

from typing import NoReturn

import numpy as np

from pipeline.errors import UsageError
from pipeline.inputs.manifest import count_rows
from pipeline.questions.columns import Groups
from pipeline.questions.outcomes import Outcomes
from pipeline.questions.population_scores import KEY_DIGITS, Keys, PopulationScores
from pipeline.questions.proxy_run import ProxyRun
from pipeline.questions.question import Question
from pipeline.questions.run_words import pruning_and_views
from pipeline.questions.sample import limit_of
from pipeline.run.run_directory import RunDirectory
from pipeline.run.run_record import RunRecord
from pipeline.statistics import share
from pipeline.storage.location import Location
from workers.sampling import Protocol

_FLAG = "--proxy-run"


class EarlierRun:
    """A finished run whose scores are the proxy.

    Args:
        output: its OUTPUT.
        question: what is asked.
        protocol: of the reference.
        first: units of the first round, which answers without the proxy; 0 if it does not.

    Raises:
        UsageError: the run cannot be the proxy; the message says why.
    """

    def __init__(self, output: str, question: Question, protocol: Protocol, first: int) -> None:
        self._first = first
        self._run = RunDirectory(Location.of(output))
        self._run.check_labels()
        self._record = self._run.load()
        self._check(protocol)
        try:
            self._labels = question.among(self._record.model.labels)
        except UsageError as error:
            raise UsageError(f"{_FLAG} {self._run.root.uri}: {error}") from error
        self._scores: PopulationScores | None = None

    def read(self, population: RunDirectory, groups: Groups) -> PopulationScores:
        """The scores of a population; they are read once.

        Args:
            population: a run whose manifest has its units.
            groups: of these.

        Raises:
            UsageError: the run has nothing of the population, or lost a part of it.
            OSError, pa.ArrowException: a table cannot be read.
        """
        if self._scores is None:
            found = PopulationScores.read(
                self._run,
                self._labels,
                manifest=population.manifest,
                groups=groups,
                trained_on=self._record.model.trained_on,
            )
            if not found.labeled:
                self._refuse("has a label of no unit of INPUT; name a run over the same videos")
            if found.knows_a_sample(_below(self._first, len(found), found.keys)):
                self._refuse(
                    "has a head that was trained on videos of this question's sample, of which it "
                    "says more than of the rest, so that the answer would be wrong; train one on "
                    "other videos, such as those of jobs/suggest.py"
                    + " or of the first to_label.csv alone"
                    * bool(self._first)
                )
            if found.lacks_a_part():
                self._refuse(
                    "lacks labels of a part of the order in which samples are taken, as after an "
                    "outage, so that a sample says nothing of the rest; its command with "
                    "--retry-failed may label the failed ones"
                )
            self._scores = found
        return self._scores

    @property
    def labeled(self) -> int:
        """Units of the population that it labeled; `read` comes first."""
        assert self._scores is not None
        return self._scores.labeled

    def outcomes(self, sample: Outcomes) -> Outcomes:
        """The units of a sample as the run has labeled them; `read` comes first."""
        assert self._scores is not None
        return self._scores.outcomes(sample)

    def proxy_run(self, reference: Outcomes) -> ProxyRun:
        """What is said of the run, beside the reference's labels of random units."""
        scores, record = self._scores, self._record
        assert scores is not None
        mine = scores.outcomes(reference)
        same = ((mine.found > 0.5) == (reference.found > 0.5)).all(axis=1)[mine.ok]
        finished = record.finished or record.created
        return ProxyRun(
            output=self._run.root.uri,
            made=_words(record),
            finished="" if finished is None else finished.date().isoformat(),
            units=len(scores),
            failed=scores.failed,
            absent=len(scores) - scores.failed - scores.labeled,
            agreement=share(int(same.sum()), len(same)),
            warns_of_head=bool(record.identity.head) and not record.model.trained_on,
        )

    def _check(self, protocol: Protocol) -> None:
        record = self._record
        if not self._run.success.exists():
            self._refuse("is not finished; run its command again")
        if record.sample is not None:
            self._refuse(
                "holds a sample alone, taken in the order in which this question samples, so that "
                "it has no scores of the rest; finish it by a labeling job with the same flags"
            )
        if record.identity.budget is not None:
            self._refuse(
                "has a budget, by which it evaluated fewer views in a part of the order in which "
                "samples are taken; name a run without one"
            )
        if not count_rows(self._run.units):
            self._refuse("has no units")
        mine, theirs = _segment(protocol), _segment(record.identity.protocol)
        if mine != theirs:
            self._refuse(
                f"has {_units(theirs)}, and the question is asked of {_units(mine)}; give both the "
                "same --clip-every, and the same clips of --views"
            )

    def _refuse(self, why: str) -> NoReturn:
        raise UsageError(f"{_FLAG} {self._run.root.uri} {why}")


def _below(count: int, units: int, keys: Keys) -> int:
    """How many of the units are in a sample of about `count`."""
    if count >= units:
        return units
    digits = limit_of(count, units)
    return int(np.searchsorted(keys, int(digits, 16) << (4 * (KEY_DIGITS - len(digits)))))


def _segment(protocol: Protocol) -> tuple[float, float] | None:
    """(seconds of a segment, seconds from clip to clip); None for whole videos."""
    return None if protocol.every_s is None else (protocol.unit_s, protocol.every_s)


def _units(segment: tuple[float, float] | None) -> str:
    if segment is None:
        return "whole videos"
    return f"segments of {segment[0]:g} s with a clip every {segment[1]:g} s"


def _words(record: RunRecord) -> str:
    identity = record.identity
    words = [record.model.architecture, pruning_and_views(identity)]
    words += ["early exit"] * (identity.early_exit is not None)
    if identity.relabeled:
        words.append(f"a head over the embeddings of {identity.relabeled}")
    elif identity.head:
        words.append("a head of its own")
    return ", ".join(words)
