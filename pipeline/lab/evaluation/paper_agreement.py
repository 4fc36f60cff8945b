"""Agreement with the paper: whether our differences between variants have the sign of its own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from pipeline.lab.evaluation.paper import ABLATIONS, FIGURE_5, PaperAblation, PaperAccuracy
from pipeline.lab.evaluation.scores import Scores, difference
from pipeline.lab.evaluation.variants import DEFAULT, RANDOM, PruningVariant
from pipeline.statistics import Estimate


class Verdict(StrEnum):
    """Whether our difference has the sign of the paper's."""

    SAME = "as in the paper"
    OTHER = "not as in the paper"
    OPEN = "cannot be told"


@dataclass(frozen=True)
class Line:
    """One variant compared with the base of its table.

    Attributes:
        variant: its name.
        base: name of the base, which may be the variant itself.
        paper: accuracies in the paper.
        expected: the paper's difference in top-1, in points; None where it gives none.
        difference: ours, of shares; None for the base itself.
        verdict: None where there is nothing to compare.
        view_difference: ours between accuracies of single views. It resolves smaller differences:
            the mean over fifteen views hides most of the effect of pruning on one.
        view_verdict: `verdict` by `view_difference`.
    """

    variant: str
    base: str
    paper: PaperAccuracy | None
    expected: float | None
    difference: Estimate | None
    verdict: Verdict | None
    view_difference: Estimate | None = None
    view_verdict: Verdict | None = None


@dataclass(frozen=True)
class PaperComparison:
    """One comparison of the paper with our differences."""

    key: str
    title: str
    says: str
    lines: tuple[Line, ...]

    @property
    def verdict(self) -> Verdict | None:
        """Verdict on the whole order: OTHER if any line is, SAME only if every line is.

        None where the paper gives no order.
        """
        return _whole(line.verdict for line in self.lines)

    @property
    def view_verdict(self) -> Verdict | None:
        """The same by single views."""
        return _whole(line.view_verdict for line in self.lines)


def _whole(verdicts: Iterable[Verdict | None]) -> Verdict | None:
    said = [each for each in verdicts if each is not None]
    if not said:
        return None
    return next((v for v in (Verdict.OTHER, Verdict.OPEN) if v in said), Verdict.SAME)


def verdict_of(expected: float | None, ours: Estimate) -> Verdict | None:
    """Compares the sign of an interval with the expected one; None where none is expected."""
    if not expected:
        return None
    if ours.low <= 0 <= ours.high or ours.count == 0:
        return Verdict.OPEN
    return Verdict.SAME if (ours.value > 0) == (expected > 0) else Verdict.OTHER


def tables(scores: Scores, variants: Sequence[PruningVariant]) -> list[PaperComparison]:
    """Every comparison of which at least two variants were evaluated."""
    found = [_table(comparison, scores) for comparison in ABLATIONS]
    found.insert(1, _figure_5(scores, variants))
    return [table for table in found if any(line.difference for line in table.lines)]


def _table(comparison: PaperAblation, scores: Scores) -> PaperComparison:
    base, paper = comparison.base, comparison.paper
    lines = []
    for name in comparison.rows:
        if name not in scores.by_variant or base not in scores.by_variant:
            continue
        expected = None
        if name != base and name in paper:
            expected = paper[name].top1 - paper[base].top1
        lines.append(_line(name, base, scores, paper.get(name), expected))
    return PaperComparison(comparison.key, comparison.title, comparison.says, tuple(lines))


def _figure_5(scores: Scores, variants: Sequence[PruningVariant]) -> PaperComparison:
    """Random against STA at every r with both; the paper gives a plot, no numbers."""
    by_r = {
        kind: {variant.r: variant.name for variant in of_kind(variants, kind)}
        for kind in (DEFAULT, RANDOM)
    }
    lines = [
        _line(by_r[RANDOM][r], by_r[DEFAULT][r], scores, None, -1.0)
        for r in sorted(by_r[DEFAULT].keys() & by_r[RANDOM].keys())
    ]
    return PaperComparison(
        "figure5", "Random tokens against STA (Figure 5)", FIGURE_5, tuple(lines)
    )


def of_kind(variants: Iterable[PruningVariant], kind: str) -> list[PruningVariant]:
    """The points of a curve of Figure 5, of "sta" or of "random", by r."""
    points = [
        variant
        for variant in variants
        if variant.name == kind or variant.name.startswith(f"curve-{kind}-")
    ]
    return sorted(points, key=lambda variant: variant.r)


def _line(
    name: str, base: str, scores: Scores, paper: PaperAccuracy | None, expected: float | None
) -> Line:
    if name == base:
        return Line(name, base, paper, None, None, None)
    one, other = scores.by_variant[name], scores.by_variant[base]
    ours = difference(one.top1, other.top1)
    views = difference(one.per_view, other.per_view)
    return Line(
        name,
        base,
        paper,
        expected,
        ours,
        verdict_of(expected, ours),
        view_difference=views,
        view_verdict=verdict_of(expected, views),
    )
