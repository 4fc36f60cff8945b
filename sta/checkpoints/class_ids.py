"""Ids of classes in a label file: what is an id, and the names in the order of their ids."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Sequence

from sta.errors import CheckpointError

Pair = tuple[object, object]
"""A class id and a name."""

_log = logging.getLogger(__name__)


def class_id(value: object) -> int | None:
    """The id that a value stands for; None if it is no id."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    match = re.fullmatch(
        r"\s*[\"']?\s*([0-9]{1,9})\s*[\"']?\s*", value if type(value) is str else ""
    )
    return int(match[1]) if match else None


def first_id(ids: Sequence[int | None]) -> int | None:
    """0 or 1 if the ids are 0 to n - 1 or 1 to n, each once; None otherwise."""
    if not ids or None in ids:
        return None
    found = sorted(i for i in ids if i is not None)
    start = found[0]
    return start if start in (0, 1) and found == list(range(start, start + len(ids))) else None


def in_class_order(
    pairs: Sequence[Pair], where: object, *, from_one: bool = True
) -> tuple[str, ...]:
    """Names of (id, name) pairs in the order of their ids.

    `from_one`: whether ids may also be 1 to n.

    Raises:
        CheckpointError: the ids are not 0 to n - 1 or 1 to n; the message says what is wrong.
    """
    ids = [class_id(each) for each, _ in pairs]
    start = first_id(ids)
    if start is None or start > from_one:
        raise CheckpointError(
            f"the ids in {where} are not 0 to {len(ids) - 1}, each once: {_wrong(pairs)}"
        )
    if start == 1:
        _log.warning(
            "%s: its ids are 1 to %d and the model's classes 0 to %d; each is shifted by one",
            where,
            len(ids),
            len(ids) - 1,
        )
    ordered = sorted(zip(ids, (str(name) for _, name in pairs), strict=True))  # type: ignore[type-var]
    return tuple(name for _, name in ordered)


def _wrong(pairs: Sequence[Pair]) -> str:
    ids = [class_id(each) for each, _ in pairs]
    for (raw, _), found in zip(pairs, ids, strict=True):
        if found is None:
            return f"{raw!r} is no id"
    twice = [found for found, count in Counter(ids).items() if count > 1]
    if twice:
        return f"{twice[0]} comes more than once"
    missing = sorted(set(range(len(ids))) - set(ids))
    return f"{missing[0]} is missing"
