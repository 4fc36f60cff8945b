"""Checks an input before any work: it has videos, and each row of a list is valid."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from pipeline.errors import UsageError
from pipeline.inputs.duplicate_ids import Twins
from pipeline.inputs.ground_truth import GroundTruth
from pipeline.inputs.left_out import left_out_text
from pipeline.inputs.list_detection import LIST_EXTENSIONS
from pipeline.inputs.listing import Listing
from pipeline.inputs.video_names import NO_EXTENSION
from pipeline.messages import say
from pipeline.storage.addresses import local_path
from pipeline.storage.location import Location
from sta.text import displayed
from sta.transport.object_address import is_remote
from workers.io.frame_folder import IMAGE_EXTENSIONS, is_folder

_KINDS = 5
# So many first videos of a list are looked for.
_LOOKED_FOR = 100
# Reading so many rows takes about ten seconds.
_WORTH_SAYING = 1_000_000


@dataclass(frozen=True)
class CheckedInput:
    """An input that was checked.

    Attributes:
        labels: its ground truth.
        listing: lists it again; an index of the files below `--video-root` is kept.
    """

    labels: GroundTruth
    listing: Listing


def checked_input(
    listing: Listing, classes: Sequence[str], *, limit: int | None = None
) -> CheckedInput:
    """Checks an input and collects its ground truth.

    A list is read to the end, and so are archives if the input begins with one: labels lie in them.

    Args:
        listing: the input.
        classes: names of the model's classes.
        limit: number of videos of a list to read; None for all.

    Raises:
        UsageError: the input has no video, a list has a wrong row or a video_id twice, or flags of
            lists were given for another input.
    """
    _check_root(listing.lists.video_root)
    listing = listing.again(report=_say_if_long)
    labels, ids, first = GroundTruth(classes), Twins(), list[str]()
    for video in islice(listing.videos(), limit):
        if not listing.is_list:
            _refuse_flags_of_lists(listing)
        if not listing.is_list and (video.part is None or is_folder(video.part)):
            return CheckedInput(labels, listing)
        labels.add(video.ground_truth)
        ids.add(video.video_id)
        if len(first) < _LOOKED_FOR:
            first.append(video.uri)
    if not listing.found:
        raise UsageError(f"no video in {listing.source}: {_held(listing)}")
    if listing.is_list:
        again = islice(listing.again().videos(), limit)
        _refuse_twins(listing.source, ids, (video.video_id for video in again))
    say(_where_none_is(listing, first))
    return CheckedInput(labels, listing)


def _check_root(root: str | None) -> None:
    if root is not None and not is_remote(root) and not os.path.isdir(root):
        raise UsageError(f"--video-root: there is no directory {root}")


def _refuse_flags_of_lists(listing: Listing) -> None:
    flags = listing.lists.flags
    if flags:
        raise UsageError(
            f"{listing.source} is not a list of videos, which {' and '.join(flags)} "
            f"{'is' if len(flags) == 1 else 'are'} for; leave {' and '.join(flags)} out, or name a "
            f"list as INPUT"
        )


def _where_none_is(listing: Listing, uris: Sequence[str]) -> str | None:
    """A message if none of a list's first videos exists here, which may be a wrong folder."""
    here = (uri.startswith(("/", "file:")) for uri in uris)
    if not all(here) or any(map(os.path.lexists, map(local_path, uris))):
        return None
    base = listing.lists.video_root or posixpath.dirname(Location.of(listing.source).uri)
    return (
        f"none of the first {len(uris)} videos of {listing.source} is on this machine, such as "
        f"{displayed(uris[0])}. Relative paths of a list start at {base}; --video-root DIR names "
        f"another folder."
    )


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
        said = left_out_text(listing.skipped, listing.names, most=_KINDS, rows=listing.rows)
        return f"of the list, {said}" if said else "the list has no row"
    if not listing.skipped:
        return "it is empty"
    said = f"it holds {left_out_text(listing.skipped, listing.names, most=_KINDS)}"
    lists = [name for name in listing.skipped if name in LIST_EXTENSIONS]
    if lists:
        said += f"; to label the videos of a {lists[0]} list, name that file"
    if listing.lists.fps is None and any(name in IMAGE_EXTENSIONS for name in listing.skipped):
        said += "; --fps N labels folders of numbered pictures as videos of N frames a second"
    if not listing.all_files and any(map(_is_name, listing.skipped)):
        said += "; --all-files recognizes videos by their first bytes instead of their names"
    return said


def _is_name(reason: str) -> bool:
    return reason.startswith(".") or reason == NO_EXTENSION


def _say_if_long(count: int) -> None:
    if count >= _WORTH_SAYING:
        say(f"checked {count:,} rows so far")
