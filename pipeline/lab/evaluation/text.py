"""Text and table cells of an evaluation, for the page and the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.formatting import digits, text_table
from pipeline.lab.baselines.shares import METHODS
from pipeline.lab.evaluation.paper_agreement import Line, PaperComparison, Verdict
from pipeline.lab.evaluation.results import EvaluationResults, VariantResult
from pipeline.lab.evaluation.variants import RANDOM, UNPRUNED
from pipeline.reports.html.report import Tile
from pipeline.statistics import Estimate

COLUMNS = (
    *("variant", "r", "GFLOPs", "accuracy", "top 5", "minus STA's"),
    *("single views", "minus STA's", "ms per view"),
)
LEGEND = (
    "GFLOPs are of one view; accuracy and top 5 are of the mean over all views.",
    "Differences to STA are in points, with 95 % intervals; ms is device time.",
)
COMPARED = (
    *("variant", "r", "GFLOPs", "accuracy", "difference", "of single views", "paper"),
    "difference there",
)
MARKS = {Verdict.SAME: "✓", Verdict.OTHER: "✗", Verdict.OPEN: "?"}

MARKED = (
    f"{MARKS[Verdict.SAME]} as in the paper, {MARKS[Verdict.OTHER]} not as in the paper, "
    f"{MARKS[Verdict.OPEN]} cannot be told: the interval covers 0. Differences are in points."
)

_SHOWN = 3


def row(each: VariantResult) -> tuple[str, ...]:
    """A variant's cells under COLUMNS."""
    return (
        _name(each),
        each.variant.setting,
        f"{each.flops / 1e9:.3f}",
        each.top1.percent(),
        f"{100 * each.top5.value:.1f} %",
        _difference(each.difference),
        f"{100 * each.per_view.value:.1f} %",
        _difference(each.view_difference),
        digits(each.ms.value),
    )


def compared(line: Line, found: EvaluationResults) -> tuple[str, ...]:
    """A line's cells under COMPARED."""
    each = found.of(line.variant)
    assert each is not None
    paper = ""
    if line.paper is not None:
        paper = f"{line.paper.top1:.2f} %"
    return (
        _name(each),
        each.variant.setting,
        f"{each.flops / 1e9:.3f}",
        f"{100 * each.top1.value:.1f} %",
        _marked(line.difference, line.verdict),
        _marked(line.view_difference, line.view_verdict),
        paper,
        "" if line.expected is None or line.paper is None else f"{line.expected:+.2f}",
    )


def _name(each: VariantResult) -> str:
    seeds = len(each.variant.prunings)
    return each.variant.about + (f" (mean of {seeds} seeds)" if seeds > 1 else "")


def _difference(estimate: Estimate | None) -> str:
    return "" if estimate is None else estimate.points().replace(" points", "")


def _marked(estimate: Estimate | None, verdict: Verdict | None) -> str:
    mark = "" if verdict is None else f"{MARKS[verdict]} "
    return mark + _difference(estimate)


def verdicts(table: PaperComparison, found: EvaluationResults) -> str:
    """What a table comes to: by the mean over all views, and by single views."""
    lines = table.lines
    whole = _verdict(table.verdict, [(line.variant, line.verdict) for line in lines], found)
    views = _verdict(
        table.view_verdict, [(line.variant, line.view_verdict) for line in lines], found
    )
    if whole == views:
        return f"{whole} Single views say the same."
    return f"{whole} By single views: {views[0].lower()}{views[1:]}"


def _verdict(
    whole: Verdict | None, lines: Sequence[tuple[str, Verdict | None]], found: EvaluationResults
) -> str:
    def named(kind: Verdict) -> str:
        return "; ".join(found.about(name) for name, verdict in lines if verdict == kind)

    same, contrary, unsure = map(named, (Verdict.SAME, Verdict.OTHER, Verdict.OPEN))
    told = f" As in the paper: {same}." if same else ""
    doubt = f" The interval covers 0 for {unsure}." if unsure else ""
    match whole:
        case Verdict.SAME:
            return "The order is the paper's."
        case Verdict.OTHER:
            return f"The order is not the paper's, for {contrary}.{told}{doubt}"
        case Verdict.OPEN:
            return f"Too few videos to tell.{doubt}{told}"
    return "The paper does not report this."


def against_sta(results: Sequence[VariantResult], found: EvaluationResults) -> list[str]:
    """What STA's comparison with other methods at one share of the FLOPs comes to, two sentences.

    Args:
        results: of the methods, STA first.
        found: all results.
    """
    others = results[1:]
    return [
        f"At {share_reached(results, found)}, {how}, STA's accuracy minus the other's in points: "
        f"{_orders(others, differences)}."
        for how, differences in (
            ("mean of all views", [each.difference for each in others]),
            ("single views", [each.view_difference for each in others]),
        )
        if others
    ]


def share_reached(results: Sequence[VariantResult], found: EvaluationResults) -> str:
    """The FLOPs of methods that are compared with each other, such as `49.1 % of the FLOPs`."""
    dense = found.of(UNPRUNED)
    assert dense is not None
    return f"{100 * results[0].flops / dense.flops:.1f} % of the FLOPs"


def _orders(others: Sequence[VariantResult], differences: Sequence[Estimate | None]) -> str:
    """Which methods STA is better than, which are better, and which cannot be told apart."""
    named: dict[str, list[str]] = {}
    for each, difference in zip(others, differences, strict=True):
        assert difference is not None
        about = METHODS[str(each.variant.method)]
        if difference.low <= 0 <= difference.high:
            order = "cannot be told from"
        else:
            order = "is better than" if difference.value < 0 else "is worse than"
        by = _difference(_negated(difference)).replace(" (", ", ")
        named.setdefault(order, []).append(f"{about} ({by}")
    return "STA " + "; ".join(f"{order} {', '.join(names)}" for order, names in named.items())


def lead(found: EvaluationResults) -> list[str]:
    """The result in a few sentences."""
    default, dense, chance = found.default, found.of(UNPRUNED), found.of(RANDOM)
    said = [
        f"{found.record.model.architecture} on {found.scores.videos:,} labeled videos, "
        f"each in {_views(found)} views, all variants on the same decoded frames."
    ]
    if dense is not None and found.flops_share is not None:
        said.append(
            f"STA with r = {default.variant.r} takes {100 * found.flops_share:.0f} % of the FLOPs "
            f"at an accuracy of {default.top1.percent()}; without pruning it is "
            f"{dense.top1.percent()}."
        )
    loss = found.random_difference
    if chance is not None and loss is not None:
        said.append(
            f"With as many tokens dropped at random it is {chance.top1.percent()}: STA gains "
            f"{_negated(loss).points()}."
        )
    return said


def _views(found: EvaluationResults) -> str:
    protocol = found.record.identity.protocol
    return f"{protocol.clips} x {protocol.crops}"


def _negated(estimate: Estimate) -> Estimate:
    return Estimate(-estimate.value, -estimate.high, -estimate.low, estimate.count)


def tiles(found: EvaluationResults) -> list[Tile]:
    """The main figures."""
    scores = found.scores
    made = [Tile(f"{scores.videos:,}", "videos with ground truth", f"{scores.failed:,} failed")]
    for name, what in (("sta", "accuracy with STA"), (UNPRUNED, "accuracy without pruning")):
        each = found.of(name)
        if each is not None:
            value, interval = each.top1.percent().split(" % ")
            made.append(Tile(f"{value} %", what, interval))
    if found.flops_share is not None:
        made.append(Tile(f"{100 * found.flops_share:.0f} %", "of the FLOPs with STA"))
    if found.random_difference is not None:
        value, interval = _negated(found.random_difference).points().split(" points ")
        made.append(Tile(f"{value} points", "STA against random tokens", interval))
    return made


def notes(found: EvaluationResults) -> list[str]:
    """What a reader has to know of the videos that were left out."""
    scores, said = found.scores, []
    if scores.failed:
        said.append(f"{scores.failed:,} that could not be read")
    if scores.unlabeled:
        said.append(f"{scores.unlabeled:,} without a label")
    if scores.unknown:
        named = ", ".join(repr(label) for label, _ in scores.unknown.most_common(_SHOWN))
        said.append(
            f"{scores.unknown.total():,} whose label is none of the model's, such as {named}"
        )
    return [f"Left out of the videos: {', '.join(said)}."] if said else []


def methodology(found: EvaluationResults) -> list[str]:
    """How the figures are computed."""
    return [
        "Accuracy: the share of videos for which the mean of the probabilities over all views puts "
        "the ground truth first. Variants with random choices were run with several seeds; a video "
        "counts by the share of seeds that were correct.",
        "Intervals are of 95 %, over videos: Wilson's for a share, a bootstrap of the videos for a "
        "mean over seeds, and Agresti and Min's for differences, which are taken video by video. "
        "They do not cover other seeds.",
        "An order is the paper's if every difference to the table's reference has the paper's sign "
        "and its interval leaves 0 out. With some thirty differences one or two may leave 0 out by "
        "chance alone.",
        "Single views tell smaller differences apart, since the mean over all views forgives most "
        "of what pruning does to one; the paper's figures are of the mean.",
        "FLOPs are multiply-accumulates by fvcore's convention. Schedules are compared at FLOPs "
        "that all three can reach, which may be more than STA's default, and with a random first "
        "frame where ToMe's step, which drops half of a frame at the most, stands in the way.",
        *_methods(found),
        f"Device time per view is measured on {found.device}, the mean over all batches"
        + ("." if found.on_gpu else ", by the clock: other work on the machine is in it."),
        "The paper's figures are of ViT-L on Kinetics-400, r = 64. Another model on other videos "
        "need not have its order.",
    ]


def _methods(found: EvaluationResults) -> list[str]:
    """What a reader has to know of the other methods than STA."""
    if not found.shares:
        return []
    return [
        "Methods at a share of the FLOPs: STA has the r whose FLOPs are nearest to the share of "
        "the unpruned model's, with a random first frame where ToMe's step stands in the way, and "
        "the others have the whole number of tokens whose FLOPs are nearest to STA's. ToMe merges "
        "tokens of the whole clip in every block. RLT drops, before the first block, the tubelets "
        "that changed least, so that all clips have the same FLOPs; as published it drops those "
        "below a threshold. The model was trained with none of them.",
    ]


def screen(found: EvaluationResults) -> str:
    """The result for a terminal."""
    rows = text_table([COLUMNS, *map(row, found.distinct)])
    lines = [*lead(found), *notes(found), "", *rows, *LEGEND, ""]
    lines += [f"{table.title}: {verdicts(table, found)}" for table in found.tables]
    lines += [verdict for share in found.shares for verdict in against_sta(share, found)]
    return "\n".join(lines)
