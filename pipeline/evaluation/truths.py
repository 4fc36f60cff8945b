"""Whether an input has labels that a model can be judged by, before any work."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import islice

from pipeline.errors import UsageError
from pipeline.input_manifest import MANIFEST_EXTENSIONS
from pipeline.listing import Listing

_SHOWN = 3


def check_truths(source: str, labels: Sequence[str], *, limit: int | None = None) -> None:
    """Refuses an input none of whose labels is one of the model's.

    Raises:
        UsageError: the message says what the labels are, if there are any.
    """
    kinds = ", ".join(MANIFEST_EXTENSIONS)
    known, others = set(labels), Counter[str]()
    for video in islice(Listing(source).videos(), limit):
        if video.label in known:
            return
        if video.label is not None:
            others[video.label] += 1
    if not others:
        raise UsageError(
            f"no video of {source} has a label to judge by; name a manifest ({kinds}) with columns "
            f"uri and label"
        )
    theirs, ours = (", ".join(map(repr, names[:_SHOWN])) for names in (list(others), labels))
    raise UsageError(
        f"no label of {source} is one of the model's: there it says {theirs}, the model says {ours}"
    )
