"""Accuracies in the paper: Table 6 and the text on Figure 5, of ViT-L on Kinetics-400.

Ding et al., Prune Spatio-temporal Tokens by Semantic-aware Temporal Accumulation, ICCV 2023,
section 4.3. Accuracies in percent.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PaperAccuracy:
    """Accuracies in percent; top5 is None where the paper gives none."""

    top1: float
    top5: float | None = None


@dataclass(frozen=True)
class PaperAblation:
    """One ablation of the paper: variants compared with a base.

    Attributes:
        key: such as `6a`.
        title: what is compared.
        base: the variant to compare with, the paper's default.
        rows: names of all variants, in the paper's order.
        paper: accuracies in the paper, by variant; empty where it gives none.
        says: the paper's conclusion.
    """

    key: str
    title: str
    base: str
    rows: tuple[str, ...]
    paper: dict[str, PaperAccuracy]
    says: str


FIGURE_5 = "STA consistently surpasses random pruning"

_DEFAULT = PaperAccuracy(84.96, 96.50)

ABLATIONS = (
    PaperAblation(
        key="cost",
        title="What pruning costs",
        base="sta",
        rows=("unpruned", "sta", "grouping-paper"),
        paper={"unpruned": PaperAccuracy(85.05, 96.55), "sta": _DEFAULT},
        says="half the FLOPs of ViT-L cost 0.1 points",
    ),
    PaperAblation(
        key="6a",
        title="Token removal at the first frame (Table 6a)",
        base="sta",
        rows=("first-random", "first-grid", "sta"),
        paper={
            "first-random": PaperAccuracy(84.78, 96.46),
            "first-grid": PaperAccuracy(84.85, 96.50),
            "sta": _DEFAULT,
        },
        says="ToMe's step is best, all three are close",
    ),
    PaperAblation(
        key="6b",
        title="Order of accumulation (Table 6b)",
        base="sta",
        rows=("sta", "order-BFB", "order-FFF", "order-BBB"),
        paper={
            "sta": _DEFAULT,
            "order-BFB": PaperAccuracy(84.97, 96.43),
            "order-FFF": PaperAccuracy(84.26, 96.41),
            "order-BBB": PaperAccuracy(84.35, 96.37),
        },
        says="alternating orders outperform one direction",
    ),
    PaperAblation(
        key="6c",
        title="What is compared between frames (Table 6c)",
        base="sta",
        rows=("similarity-q", "sta", "similarity-v", "similarity-ffn"),
        paper={
            "similarity-q": PaperAccuracy(84.83, 96.52),
            "sta": _DEFAULT,
            "similarity-v": PaperAccuracy(84.84, 96.50),
            "similarity-ffn": PaperAccuracy(84.94, 96.50),
        },
        says="keys are best",
    ),
    PaperAblation(
        key="6d",
        title="Schedule over the stages (Table 6d)",
        base="schedule-decreasing",
        rows=("schedule-constant", "schedule-decreasing", "schedule-increasing"),
        paper={
            "schedule-constant": PaperAccuracy(84.68, 96.36),
            "schedule-decreasing": _DEFAULT,
            "schedule-increasing": PaperAccuracy(77.68, 93.72),
        },
        says="dropping much at first and less later is best, by 7 points over the reverse",
    ),
    PaperAblation(
        key="6e",
        title="Score (Table 6e)",
        base="sta",
        rows=("score-semantics", "score-redundancy", "sta"),
        paper={
            "score-semantics": PaperAccuracy(84.87),
            "score-redundancy": PaperAccuracy(84.69),
            "sta": _DEFAULT,
        },
        says="the product is better than either factor",
    ),
)
