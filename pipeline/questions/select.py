"""The videos with a label: a set that holds nearly all of them, to label in full or to look at."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.errors import UsageError
from pipeline.formatting import percent, quantity
from pipeline.inputs.manifest import MANIFEST_SCHEMA
from pipeline.labeling.options import LabelOptions
from pipeline.messages import say
from pipeline.questions.answer import OPINION, wrapped
from pipeline.questions.columns import groups_of
from pipeline.questions.earlier_run import EarlierRun
from pipeline.questions.everything import everything_command, everything_note
from pipeline.questions.intervals.selection import RecallSelection, Selection
from pipeline.questions.outcomes import Outcomes, outcomes
from pipeline.questions.population_scores import PopulationScores
from pipeline.questions.proxy_run import ProxyRun
from pipeline.questions.question import Question
from pipeline.questions.rounds import PILOT
from pipeline.questions.run_words import pruning_and_views
from pipeline.questions.sample import ALL, Limits, Manifest, ids_of, limit_of
from pipeline.questions.series import Series
from pipeline.questions.spent import QuestionCost, question_cost
from pipeline.questions.spent_words import cost_lines
from pipeline.storage.location import Location
from pipeline.storage.parquet_files import read_parquet
from pipeline.storage.parquet_parts import PartWriter

SELECTED = "selected"

_GROWTH = 1.7
# The set is as small as the sample can make it once its recall is estimated so near the wanted one.
_NEAR = 0.02
_ROWS_PER_FILE = 500_000


@dataclass(frozen=True)
class SelectionAnswer:
    """The set, and what is known of it.

    Attributes:
        question: what was asked.
        confidence: of the recall.
        wanted: recall that was asked for.
        units: videos of the input.
        chosen: videos of the set.
        found: the last selection, without its units.
        flops: multiply-accumulates of the proxy and the reference.
        flops_of_all: those of labeling everything by the reference.
        output: where runs and the set lie.
        source: the input.
        reference: who gave the labels, in words.
        task: labeling job whose protocol is taken.
        r: of the reference; None for the default of the model.
        cost: time and money.
        proxy_run: the earlier run that was the proxy; None where none was.
    """

    question: Question
    confidence: float
    wanted: float
    units: int
    chosen: int
    found: Selection
    flops: int
    flops_of_all: int
    output: str
    source: str
    reference: str
    task: str = "k400"
    r: int | None = 0
    cost: QuestionCost | None = None
    proxy_run: ProxyRun | None = None

    def to_json(self) -> dict[str, Any]:
        """The answer as JSON has it."""
        made = dataclasses.asdict(self)
        made["found"].pop("chosen")
        return made | {"question": self.question.text}

    @property
    def text(self) -> str:
        """The answer on the screen."""
        found = self.found
        place = Location.of(self.output).child(SELECTED).uri
        recall = "not known" if math.isnan(found.recall) else f"{100 * found.recall:.1f} %"
        seen = f"{found.references:,} by the reference, of which {found.positives:,} have the label"
        said = [
            f"Question:  {self.question.text}",
            f"Answer:    {self.chosen:,} of {self.units:,} videos "
            f"({percent(self.chosen, self.units)}), which hold {100 * found.recall_low:.4g} % of "
            f"those with the label, with {100 * self.confidence:g} % confidence",
            f"Estimates: recall {recall}, precision {100 * found.precision:.1f} %",
            f"Reference: {self.reference}{OPINION}",
            f"Looked at: all by the proxy, {seen}",
            *([] if self.proxy_run is None else self.proxy_run.lines("videos", beyond="")),
            f"Cost:      {quantity(self.flops)}FLOPs; all videos by the reference take "
            f"{quantity(self.flops_of_all)}FLOPs",
        ]
        lines = [each for line in said for each in wrapped(line)]
        note = everything_note(
            self.flops, self.flops_of_all, is_complete=found.references == self.units
        )
        if note is not None:
            command = everything_command(self.source, self.output, task=self.task, r=self.r)
            lines += [*wrapped(f"Note:      {note}"), f"{' ' * 11}{command}"]
        said = [
            *([] if self.cost is None else cost_lines(self.cost, "videos")),
        ]
        if self.chosen == self.units and found.references < self.units:
            said.append(
                "Note:      the set is the whole input: too few videos with the label were seen to "
                "leave any out; a larger --max-reference may"
            )
        lines += [each for line in said for each in wrapped(line)]
        return "\n".join([*lines, f"List:      {place}"])


def select(
    question: Question,
    reference_options: LabelOptions,
    proxy_options: LabelOptions | None,
    *,
    recall: float,
    confidence: float,
    most: int | None,
    output: str,
    proxy_run: str | None = None,
) -> SelectionAnswer:
    """Labels everything by the proxy and rounds by the reference; writes the set as a list.

    Args:
        question: of kind "videos".
        reference_options: of the labeling whose labels count.
        proxy_options: of the cheap one; None with `proxy_run`.
        recall: share of the videos with the label that the set must hold.
        confidence: of that.
        most: largest number of videos that the reference labels; None for no limit.
        output: where it goes.
        proxy_run: OUTPUT of an earlier run, whose scores are the proxy; None to label by one.

    Raises:
        UsageError: the question does not fit the model or the input.
        RunError: labeling could not finish.
    """
    reference = Series.of(reference_options)
    proxy = None if proxy_options is None else Series.of(proxy_options)
    if reference.plan.identity.has_segments:
        raise UsageError("videos with LABEL is asked of whole videos; leave --clip-every out")
    (label,) = question.among(reference.plan.model.labels)
    earlier = None
    if proxy_run is not None:
        earlier = EarlierRun(proxy_run, question, reference.plan.protocol, first=0)
    if not (units := reference.begin()):
        raise UsageError(f"{reference_options.source} has nothing to ask about")
    everything = groups_of(reference.run, None)
    if earlier is not None:
        scores = earlier.read(reference.run, everything)
    else:
        assert proxy is not None
        proxy.begin(like=reference)
        proxy.label(None)
        scores = PopulationScores.read(
            proxy.run, [label], manifest=reference.run.manifest, groups=everything
        )
    selection = RecallSelection(scores.scores[:, 0], recall=recall, alpha=1 - confidence)
    manifest = Manifest(reference.run, everything)
    found, seen, size = selection.selection(), 0, min(PILOT, most or units, units)
    while True:
        sample = _labeled(reference, manifest, label, limit_of(size, units))
        new = scores.places(sample.unit_ids[seen:])
        found = selection.add(new, (sample.found[seen:, 0] > 0).astype(np.float64))
        seen = len(sample)
        say(
            f"{seen:,} of {units:,} by the reference: {len(found.chosen):,} videos hold "
            f"{100 * found.recall_low:.4g} %"
        )
        tight = found.recall <= recall + _NEAR and len(found.chosen) < units
        if tight or size >= min(most or units, units):
            break
        size = min(math.ceil(_GROWTH * size), most or units, units)
    _write(reference, scores, found.chosen, Location.of(output).child(SELECTED))
    return SelectionAnswer(
        question=question,
        confidence=confidence,
        wanted=recall,
        units=units,
        chosen=len(found.chosen),
        found=found,
        flops=seen * reference.flops_per_unit
        + (0 if proxy is None else units * proxy.flops_per_unit),
        flops_of_all=units * reference.flops_per_unit,
        output=output,
        source=reference_options.source,
        reference=(
            f"{reference.plan.model.architecture}, {pruning_and_views(reference.plan.identity)}"
        ),
        task=reference_options.task,
        r=reference_options.pruning.r,
        cost=question_cost(
            reference, proxy, everything, rests_on=seen + (0 if proxy is None else units)
        ),
        proxy_run=None if earlier is None else earlier.proxy_run(sample),
    )


def _labeled(series: Series, manifest: Manifest, label: int, limit: str) -> Outcomes:
    """Labels the units below a limit; returns what is known of them."""
    series.label(None if limit == ALL else manifest.drawn(Limits(limit, (limit,))))
    found = outcomes(series.run, [label], dense=False)
    return found.take(np.flatnonzero(found.unit_ids < limit.encode()))


def _write(
    series: Series, scores: PopulationScores, chosen: npt.NDArray[np.int64], folder: Location
) -> None:
    """Writes the rows of the manifest whose unit is chosen."""
    is_chosen = np.zeros(len(scores), np.bool_)
    is_chosen[chosen] = True
    with PartWriter(folder, MANIFEST_SCHEMA, _ROWS_PER_FILE) as parts:
        for file in series.run.manifest.files(".parquet"):
            table = read_parquet(file)
            kept = is_chosen[scores.places(ids_of(table["unit_id"]))]
            parts.write(table.filter(pa.array(kept)))
