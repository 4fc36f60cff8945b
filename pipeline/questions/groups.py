"""The confidence of several answers."""

from __future__ import annotations

from pipeline.questions.confidence_sequence import check_alpha


def simultaneous_alpha(alpha: float, answers: int) -> float:
    """Alpha of each of several answers that shall hold all at once, by Bonferroni.

    For answers by group, answers for several labels, or both times each other.
    """
    check_alpha(alpha)
    if answers < 1:
        raise ValueError(f"answers must be 1 or more; got {answers}")
    return alpha / answers
