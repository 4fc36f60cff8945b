"""Finds the videos of a list of labels among those of a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.errors import UsageError
from pipeline.heads.label_list import SEPARATOR, LabelRow
from pipeline.heads.left_out import AMBIGUOUS, FAILED, NO_LABEL, NOT_IN_RUN, LeftOut
from pipeline.heads.samples import Targets
from pipeline.run.row_lookup import rows_with
from pipeline.run.run_directory import RunDirectory
from sta.text import displayed

_COLUMNS = ("video_id", "uri", "status")
_OK = "ok"


@dataclass(frozen=True)
class VideoLabels:
    """Labels of videos of a run.

    Attributes:
        by_video: labels by video id, in the order of the ids; sorted, without repetition.
        multi_label: whether a video may have several labels, or none.
    """

    by_video: Mapping[str, tuple[str, ...]]
    multi_label: bool

    @property
    def classes(self) -> tuple[str, ...]:
        """All labels, sorted."""
        return tuple(sorted({label for labels in self.by_video.values() for label in labels}))

    def targets(self, videos: Sequence[str]) -> Targets:
        """The labels of videos, by id."""
        classes = self.classes
        number = {name: place for place, name in enumerate(classes)}
        matrix = np.zeros((len(videos), len(classes)), bool)
        for row, video in enumerate(videos):
            matrix[row, [number[label] for label in self.by_video[video]]] = True
        return Targets(classes, matrix, "sigmoid" if self.multi_label else "softmax")


def match_labels(
    rows: Iterable[LabelRow], run: RunDirectory, left_out: LeftOut, *, multi_label: bool | None
) -> VideoLabels:
    """The labels of those videos of a list that the run labeled.

    A row belongs to the video with its id, or else to the one with its uri.

    Args:
        rows: of the list.
        run: a finished run.
        left_out: receives rows that belong to no such video, and those without a label.
        multi_label: whether a video may have several labels, or none; None if a row has several.

    Raises:
        UsageError: a video has two different labels, or no video is left.
        OSError, pyarrow.ArrowException: the table of videos cannot be read.
    """
    rows = list(rows)
    several = any(len(row.labels) > 1 for row in rows)
    multi_label = several if multi_label is None else multi_label
    found = _found(rows, run)
    labels: dict[str, set[str]] = {}
    for row in rows:
        given = row.labels if multi_label else tuple(filter(None, [row.label]))
        if not given and not multi_label:
            left_out.add(NO_LABEL, row.video_id)
            continue
        match = found.get(row, _Match(reason=NOT_IN_RUN))
        if match.video_id is None:
            left_out.add(match.reason, row.video_id)
        else:
            labels.setdefault(match.video_id, set()).update(given)
    if not multi_label:
        _refuse_two(labels)
    if not labels:
        said = "; ".join(left_out.lines()) or "its rows have no label"
        unread = ", ".join(repr(displayed(name)) for name in left_out.unread)
        has = f", of which {unread} {'is' if len(left_out.unread) == 1 else 'are'} not read"
        raise UsageError(
            f"no video of the list can be trained on: {said}; --id-column, --uri-column and "
            f"--label-column name its columns{has if unread else ''}"
        )
    return VideoLabels({each: tuple(sorted(labels[each])) for each in sorted(labels)}, multi_label)


def _refuse_two(labels: Mapping[str, set[str]]) -> None:
    for video, names in labels.items():
        if len(names) > 1:
            one, other = sorted(names)[:2]
            raise UsageError(
                f"{displayed(video)} has two labels in the list, {one!r} and {other!r}; remove "
                f"one, or give --multi-label if both hold"
            )


@dataclass(frozen=True)
class _Match:
    """The labeled video that a row belongs to, or why it has none.

    Attributes:
        video_id: of the video; None if it cannot be used.
        reason: why not.
    """

    video_id: str | None = None
    reason: str = ""


def _found(rows: Sequence[LabelRow], run: RunDirectory) -> dict[LabelRow, _Match]:
    """The matches of the rows whose video the run has."""
    by_id: dict[str, _Match] = {}
    for table in rows_with(run.videos, "video_id", {row.video_id for row in rows}, _COLUMNS):
        by_id |= {row["video_id"]: _match(row) for row in table.to_pylist()}
    uris = {row.uri for row in rows if row.uri and row.video_id not in by_id}
    by_uri: dict[str, _Match] = {}
    for table in rows_with(run.videos, "uri", uris, _COLUMNS) if uris else ():
        for row in table.to_pylist():
            is_second = row["uri"] in by_uri
            by_uri[row["uri"]] = _Match(reason=AMBIGUOUS) if is_second else _match(row)
    found = {each: by_id.get(each.video_id) or by_uri.get(each.uri) for each in rows}
    return {each: match for each, match in found.items() if match is not None}


def _match(row: Mapping[str, str]) -> _Match:
    return _Match(row["video_id"]) if row["status"] == _OK else _Match(reason=FAILED)


def check_trainable(targets: Targets, fewest: int) -> None:
    """Refuses labels that no head can be trained on.

    Raises:
        UsageError: there are too few videos, or one class.
    """
    if not targets.classes:
        raise UsageError("the list has no label; --label-column names the column of the labels")
    if len(targets) < fewest:
        raise UsageError(
            f"{len(targets)} labeled videos are too few; a head needs {fewest} or more, and "
            f"some 20 of each class to be of use"
        )
    name = targets.classes[0]
    if targets.kind == "softmax" and len(targets.classes) < 2:
        raise UsageError(
            f"all {len(targets):,} videos have the label {name!r}; a head needs two classes: label "
            f"videos of something else too, or give --multi-label where videos without a label "
            f"have none of the classes"
        )
    constant = [
        targets.classes[place]
        for place, count in enumerate(targets.counts)
        if count == len(targets)
    ]
    if constant:
        raise UsageError(
            f"all {len(targets):,} videos have the label {constant[0]!r}; add rows of videos "
            f"without it, with an empty label where they have none of the classes (labels of a "
            f"video are separated by {SEPARATOR!r})"
        )
