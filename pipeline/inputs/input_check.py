"""Checks an input before any work: it has videos, and each row of a list is valid."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

from pipeline.errors import UsageError
from pipeline.inputs.duplicate_ids import Twins
from pipeline.inputs.ground_truth import GroundTruth
from pipeline.inputs.left_out import left_out_text
from pipeline.inputs.list_rows import LIST_EXTENSIONS
from pipeline.inputs.listing import Listing
from pipeline.inputs.video_names import NO_EXTENSION
from pipeline.messages import say

_KINDS = 5
# Reading so many rows takes about ten seconds.
_WORTH_SAYING = 1_000_000


def checked_input(
    listing: Listing, classes: Sequence[str], *, limit: int | None = None
) -> GroundTruth:
    """Checks an input and returns its ground truth. A list is read to the end.

    Args:
        listing: the input.
        classes: names of the model's classes.
        limit: number of videos of a list to read; None for all.

    Raises:
        UsageError: the input has no video, or a list has a wrong row or a video_id twice.
    """
    listing = listing.again(report=_say_if_long)
    labels, ids = GroundTruth(classes), Twins()
    for video in islice(listing.videos(), limit):
        if not listing.is_list:
            return labels
        labels.add(video.ground_truth)
        ids.add(video.video_id)
    if not listing.found:
        raise UsageError(f"no video in {listing.source}: {_held(listing)}")
    again = islice(listing.again().videos(), limit)
    _refuse_twins(listing.source, ids, (video.video_id for video in again))
    return labels


def _refuse_twins(source: str, ids: Twins, again: Iterator[str]) -> None:
    twin = ids.first(again)
    if twin is not None:
        raise UsageError(
            f"{source} lists {twin.video_id!r} twice, as its videos {twin.first + 1:,} and "
            f"{twin.second + 1:,}; remove one of them, or give each its own video_id"
        )


def _held(listing: Listing) -> str:
    """The content of an input without a video, and what to do."""
    if listing.is_list:
        return "the list has no row"
    if not listing.skipped:
        return "it is empty"
    said = f"it holds {left_out_text(listing.skipped, listing.names, most=_KINDS)}"
    lists = [name for name in listing.skipped if name in LIST_EXTENSIONS]
    if lists:
        said += f"; to label the videos of a {lists[0]} list, name that file"
    if not listing.all_files and any(map(_is_name, listing.skipped)):
        said += "; --all-files recognizes videos by their first bytes instead of their names"
    return said


def _is_name(reason: str) -> bool:
    return reason.startswith(".") or reason == NO_EXTENSION


def _say_if_long(count: int) -> None:
    if count >= _WORTH_SAYING:
        say(f"checked {count:,} rows so far")
