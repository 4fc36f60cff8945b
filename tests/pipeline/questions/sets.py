"""Sets of videos with a label, for tests."""

from __future__ import annotations

from pipeline.questions.inquiry import Asked
from pipeline.questions.select import SelectionAnswer, select


def selected(asked: Asked, *, recall: float, most: int | None = None) -> SelectionAnswer:
    """The set that a question asks for, with 95 % confidence."""
    assert asked.proxy is not None
    return select(
        asked.question,
        asked.reference,
        asked.proxy,
        recall=recall,
        confidence=0.95,
        most=most,
        output=asked.output,
    )
