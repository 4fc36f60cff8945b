"""What a question needs to know of a video besides its labels: its group, or a number of a list."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import numpy.typing as npt

from pipeline.errors import UsageError
from pipeline.inputs.manifest import count_rows
from pipeline.labeling.options import LabelOptions
from pipeline.questions.by_video import ByVideo
from pipeline.questions.periods import column_and_period, period_of
from pipeline.run.run_directory import RunDirectory
from pipeline.storage.parquet_files import read_parquet

PREFIX = "prefix"
"""The name that groups videos by the first part of their id, not by a column."""

NO_VALUE = "(none)"
"""What the group of videos without a value is called."""

_MOST_GROUPS = 50
_OTHERS = "all others"
# Of an archive's groups in a message.
_NAMED_GROUPS = 20

ValueOf = Callable[[Sequence[str]], Sequence[str]]


@dataclass(frozen=True)
class Groups:
    """The groups of a population.

    Attributes:
        names: of the groups, in order; one empty name where there are none.
        units: how many units each has.
        of: the group of each of some videos.
    """

    names: tuple[str, ...]
    units: tuple[int, ...]
    of: Callable[[Sequence[str]], npt.NDArray[np.int64]]


def values_of(options: LabelOptions, by: str | None) -> ValueOf | None:
    """What names the group of each video, before anything is labeled; None for no groups.

    Args:
        options: of the run; its input is the list with the column.
        by: PREFIX, a column of the list, a column of dates with a period of `periods.py`, or None
            for no groups.

    Raises:
        UsageError: there is no such column, or it has something else than dates.
    """
    if by is None or by == PREFIX:
        return None if by is None else _prefixes
    column, period = column_and_period(by)
    if period is None:
        return column_of(options, column, named_by="--by")
    return column_of(
        options, column, named_by="--by", named=lambda text: period_of(text, period, column)
    )


def groups_of(
    run: RunDirectory, value_of: ValueOf | None, between: tuple[str, str] | None = None
) -> Groups:
    """The groups of a run's units.

    Args:
        run: its manifest is the population.
        value_of: of `values_of`; None for no groups.
        between: names of two groups, which come first, in this order, before one group of all
            others; None for a group of each value.

    Raises:
        UsageError: there are too many values for groups, or none of a name.
    """
    if value_of is None:
        return Groups(("",), (count_rows(run.manifest),), lambda ids: np.zeros(len(ids), np.int64))
    counts: Counter[str] = Counter()
    for ids in _video_ids(run):
        counts.update(each or NO_VALUE for each in value_of(ids))
        if between is None and len(counts) > _MOST_GROUPS:
            raise UsageError(
                f"--by has more than {_MOST_GROUPS} groups, such as "
                f"{', '.join(sorted(counts)[:3])}; name a column with fewer values, a longer "
                "period of dates (COLUMN:month, COLUMN:year), or two groups by --between"
            )
    names = tuple(sorted(counts))
    if between is not None:
        _check_known(between, names)
        names = between
    numbers = {name: number for number, name in enumerate(names)}
    units = [counts[name] for name in names]
    if others := counts.total() - sum(units):
        names, units = (*names, _OTHERS), [*units, others]
    return Groups(
        names=names,
        units=tuple(units),
        of=lambda ids: np.array(
            [numbers.get(each or NO_VALUE, len(numbers)) for each in value_of(ids)], np.int64
        ),
    )


def _check_known(between: tuple[str, str], names: Sequence[str]) -> None:
    for each in between:
        if each not in names:
            shown = ", ".join(names[:_NAMED_GROUPS])
            more = len(names) - _NAMED_GROUPS
            raise UsageError(
                f"--between names {each!r}, which is no group of --by; there are {shown}"
                + (f" and {more:,} more" if more > 0 else "")
            )


def column_of(
    options: LabelOptions, column: str, *, named_by: str, named: Callable[[str], str] = str
) -> ValueOf:
    """Texts of a column of the list by video id; the list is read once.

    In memory are 16 bytes per video, and each different text once.

    Args:
        options: of the run; its input is the list.
        column: of the list.
        named_by: what names the column, for the message.
        named: from a text of the list to the one that is kept.

    Raises:
        UsageError: the input is no list, or has no such column; or `named` raises it.
    """
    numbers = {"": 0}
    cells = _cells(options, column, named_by)
    codes = ByVideo((name, numbers.setdefault(named(text), len(numbers))) for name, text in cells)
    texts = tuple(numbers)
    return lambda ids: [texts[int(code)] for code in codes.of(ids, missing=0)]


def numbers_of(
    options: LabelOptions, column: str
) -> Callable[[Sequence[str]], npt.NDArray[np.float64]]:
    """Numbers of a column of the list by video id; NaN where a cell is empty.

    Raises:
        UsageError: there is no such column, or a cell is no number.
    """
    cells = _cells(options, column, "the question")
    numbers = ByVideo((name, _number(text, column)) for name, text in cells)
    return lambda ids: numbers.of(ids, missing=math.nan)


def _cells(options: LabelOptions, column: str, named_by: str) -> Iterator[tuple[str, str]]:
    """(video id, text) of each row of the list."""
    lists = dataclasses.replace(options.lists, label_column=column)
    listing = dataclasses.replace(options.listing(), lists=lists)
    try:
        videos = listing.videos()
        first = next(videos, None)
        if not listing.is_list:
            raise UsageError(
                f"{options.source} is no list, so it has no column {column!r}; --by {PREFIX} "
                "groups videos by the first folder of their path"
            )
        for video in chain([] if first is None else [first], videos):
            yield video.video_id, video.ground_truth or ""
    except UsageError as error:
        raise UsageError(str(error).replace("--label-column", named_by)) from error


def _number(text: str, column: str) -> float:
    if not text:
        return math.nan
    try:
        value = float(text)
    except ValueError:
        raise UsageError(f"column {column!r} has {text!r}, which is no number") from None
    if not math.isfinite(value):
        raise UsageError(f"column {column!r} has {text!r}, of which there is no mean")
    return value


def _prefixes(ids: Sequence[str]) -> list[str]:
    """The first part of each id that stands before a slash; "." for an id without one."""
    return [head if slash else "." for head, slash, _ in (each.partition("/") for each in ids)]


def _video_ids(run: RunDirectory) -> Iterator[list[str]]:
    for file in run.manifest.files(".parquet"):
        yield read_parquet(file, ["video_id"])["video_id"].to_pylist()
