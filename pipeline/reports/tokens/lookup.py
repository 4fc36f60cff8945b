"""Finds a view in the tables of a run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import sta
from pipeline.errors import UsageError
from pipeline.run.kept_token_maps import Mask, kept_grids, unpacked, why_absent
from pipeline.run.row_lookup import rows_with
from pipeline.run.run_directory import RunDirectory
from pipeline.run.run_record import RunRecord
from pipeline.storage.location import Location
from workers.decoding import Unit
from workers.sampling import Protocol

_PLACE = ["video_id", "unit_id", "clip", "crop"]
_VIEW = [
    *_PLACE,
    "start_s",
    "end_s",
    "label",
    "top_ids",
    "top_scores",
    "kept_token_maps",
    "unpruned_label_id",
]
_UNIT = ["unit_id", "uri", "part", "start_s", "end_s", "etag", "bytes_read", "frame_count"]
_VIDEO = [
    "video_id",
    "status",
    "num_views",
    "top_ids",
    "top_scores",
    "ground_truth",
    "ground_truth_id",
    "unpruned_top_ids",
    "unpruned_top_scores",
]
_NAMED = 12


@dataclass(frozen=True)
class RunFacts:
    """A finished run and the settings that its views depend on.

    Attributes:
        run: its directory.
        record: its run.json.
        grids: (n_t, rows, columns) of each pruning stage.
    """

    run: RunDirectory
    record: RunRecord
    grids: tuple[tuple[int, int, int], ...]

    @classmethod
    def of(cls, run: RunDirectory) -> RunFacts:
        """Reads them.

        Raises:
            UsageError: there is no finished run here.
        """
        grids = tuple(kept_grids(run))
        return cls(run, run.load(), grids)

    @property
    def protocol(self) -> Protocol:
        """How videos became views."""
        return self.record.identity.protocol

    @property
    def pruning(self) -> sta.Pruning:
        """How tokens were pruned."""
        return sta.Pruning(**self.record.identity.pruning)

    @property
    def has_segments(self) -> bool:
        """Whether each clip stands for itself, with a label of its own."""
        return self.protocol.every_s is not None


@dataclass(frozen=True)
class ViewRows:
    """The rows of one view.

    Attributes:
        facts: of its run.
        video: its row of videos/.
        unit: its row of units/.
        view: its row of clips/.
    """

    facts: RunFacts
    video: dict[str, Any]
    unit: dict[str, Any]
    view: dict[str, Any]

    @property
    def kept(self) -> list[Mask]:
        """One bool array (n_t, rows, columns) per pruning stage."""
        packed = self.view["kept_token_maps"]
        return [unpacked(bits, sides) for bits, sides in zip(packed, self.facts.grids, strict=True)]

    @property
    def to_decode(self) -> Unit:
        """The unit for a decoder, which refuses another object than the one that was labeled."""
        row = self.unit
        return Unit(
            unit_id=row["unit_id"],
            video_id=self.video["video_id"],
            uri=row["uri"],
            start_s=row["start_s"],
            end_s=row["end_s"],
            etag=row["etag"],
            part=row["part"],
        )


def find(
    facts: RunFacts, video_id: str, *, clip: int | None = None, crop: int | None = None
) -> ViewRows:
    """The rows of one view of a video.

    Args:
        facts: of the run.
        video_id: the video.
        clip: number of the clip, None for the first that was labeled.
        crop: number of the crop, None for the one nearest to the middle.

    Raises:
        UsageError: no such video, clip or crop, or the video failed; says what there is.
    """
    run = facts.run
    video = next(_rows(run.videos, video_id, _VIDEO), None)
    if video is None or video["status"] != "ok":
        raise UsageError(why_absent(run, video_id))
    places = list(_rows(run.clips, video_id, _PLACE))
    if facts.record.identity.early_exit is not None:
        _check_evaluated(facts.protocol, clip, crop, places)
    clip = _chosen("clip", clip, {place["clip"] for place in places}, 0, video_id)
    here = {place["crop"] for place in places if place["clip"] == clip}
    crop = _chosen("crop", crop, here, middle_crop(facts.protocol), video_id)
    view = _only(run.clips, video_id, _VIEW, clip=clip, crop=crop)
    unit = _only(run.units, video_id, _UNIT, unit_id=view["unit_id"])
    return ViewRows(facts, video, unit, view)


def _check_evaluated(
    protocol: Protocol, clip: int | None, crop: int | None, places: list[dict[str, Any]]
) -> None:
    """Refuses a view of the protocol that early exit did not evaluate."""
    if not (clip or 0) < protocol.clips or not (crop or 0) < protocol.crops:
        return
    asked = {
        name: number for name, number in (("clip", clip), ("crop", crop)) if number is not None
    }
    if any(all(place[name] == number for name, number in asked.items()) for place in places):
        return
    evaluated = ", ".join(f"{place['clip']}/{place['crop']}" for place in places)
    named = ", ".join(f"{name} {number}" for name, number in asked.items())
    raise UsageError(
        f"{places[0]['video_id']} was not evaluated in {named}: early exit stopped before it; "
        f"clip/crop evaluated: {evaluated}"
    )


def middle_crop(protocol: Protocol) -> int:
    """Number of the crop nearest to the frame's middle; recipes number them differently."""
    wide = 2 * protocol.short_side
    lefts = protocol.crop_origins(protocol.short_side, wide)[:, 1]
    return int(abs(lefts + protocol.size / 2 - wide / 2).argmin())


def _chosen(what: str, asked: int | None, there: set[int], default: int, video_id: str) -> int:
    """The number asked for, or the default where nothing is; the lowest where that is not there."""
    if asked is None:
        return default if default in there else min(there)
    if asked not in there:
        raise UsageError(f"{video_id} has no {what} {asked}; it has {_ranges(sorted(there))}")
    return asked


def _ranges(numbers: list[int]) -> str:
    """Ascending numbers in words: `0 to 4, 7`."""
    spans: list[list[int]] = []
    for number in numbers:
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    words = [str(a) if a == b else f"{a} to {b}" for a, b in spans]
    return ", ".join(words[:_NAMED]) + (" and others" if len(words) > _NAMED else "")


def _rows(table: Location, video_id: str, columns: list[str]) -> Iterator[dict[str, Any]]:
    for rows in rows_with(table, "video_id", {video_id}, columns):
        yield from rows.to_pylist()


def _only(table: Location, video_id: str, columns: list[str], **place: object) -> dict[str, Any]:
    """The row of a video with these values."""
    for row in _rows(table, video_id, columns):
        if all(row[name] == value for name, value in place.items()):
            return row
    raise UsageError(f"{table.uri} has no row of {video_id} with {place}, which other tables have")
