"""Whether an input has labels that a model can be judged by, before any work."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.errors import UsageError
from pipeline.inputs.input_check import checked_input

_SHOWN = 3


def check_truths(source: str, labels: Sequence[str], *, limit: int | None = None) -> None:
    """Refuses an input none of whose labels is one of the model's.

    Raises:
        UsageError: the message says what the labels are, if there are any.
    """
    found = checked_input(source, labels, limit=limit)
    if not found.given:
        raise UsageError(
            f"no video of {source} has a label to judge by; name a list with columns uri and label"
        )
    if not found.known:
        ours = ", ".join(map(repr, labels[:_SHOWN]))
        raise UsageError(f"{source}: {found.problem()}; the model's are {ours}, ...")
