"""Whether an input can be labeled, before any work: lists are read to their last row."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from itertools import islice

from pipeline.errors import UsageError
from pipeline.inputs.duplicate_ids import Twins
from pipeline.inputs.ground_truth import GroundTruth
from pipeline.inputs.list_rows import LIST_EXTENSIONS
from pipeline.inputs.listing import Listing
from pipeline.inputs.video_names import NO_EXTENSION

_KINDS = 5
# Reading so many rows takes some ten seconds.
_WORTH_SAYING = 1_000_000


def checked_input(
    source: str, classes: Sequence[str], *, all_files: bool = False, limit: int | None = None
) -> GroundTruth:
    """The ground truth of an input, which holds a video; a list is read whole.

    Args:
        source: what the user named.
        classes: names of the model's classes.
        all_files: as of `Listing`.
        limit: read so many videos of a list; None for all.

    Raises:
        UsageError: it holds no video, or a list has a row that is wrong or two of one video_id.
    """
    listing = Listing(source, all_files=all_files, report=_say_if_long)
    labels, ids = GroundTruth(classes), Twins()
    for video in islice(listing.videos(), limit):
        if not listing.is_list:
            return labels
        labels.add(video.ground_truth)
        ids.add(video.video_id)
    if not listing.found:
        raise UsageError(f"no video in {source}: {_held(listing)}")
    again = islice(Listing(source, all_files=all_files).videos(), limit)
    _refuse_twins(source, ids, (video.video_id for video in again))
    return labels


def _refuse_twins(source: str, ids: Twins, again: Iterator[str]) -> None:
    twin = ids.first(again)
    if twin is not None:
        raise UsageError(
            f"{source} lists {twin.video_id!r} twice, as its videos {twin.first + 1:,} and "
            f"{twin.second + 1:,}; a video is labeled once: take one of them out, or give each a "
            f"video_id of its own"
        )


def _held(listing: Listing) -> str:
    """What an input without a video holds, and what can be done."""
    if listing.is_list:
        return "the list has no row"
    if not listing.skipped:
        return "it is empty"
    kinds = ", ".join(f"{count:,} {name}" for name, count in listing.skipped.most_common(_KINDS))
    said = f"it holds {kinds}"
    lists = [name for name in listing.skipped if name in LIST_EXTENSIONS]
    if lists:
        said += f"; to label what a {lists[0]} lists, name that file"
    if not listing.all_files and any(map(_is_name, listing.skipped)):
        said += "; --all-files takes files by their first bytes and not by their names"
    return said


def _is_name(reason: str) -> bool:
    return reason.startswith(".") or reason == NO_EXTENSION


def _say_if_long(count: int) -> None:
    if count >= _WORTH_SAYING:
        print(f"checked {count:,} rows so far", file=sys.stderr, flush=True)
