"""Lists of data sets that name ids instead of files: Kinetics, Something-Something, ActivityNet."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.inputs.list_columns import KINETICS
from pipeline.inputs.list_row import Row, bad_row

_PLACEHOLDER = re.compile(r"[\[\]]")
_NUMBER = re.compile(r"(\d{1,9})(\.0*)?")


@dataclass(frozen=True)
class NamedClip:
    """A video whose file is found by its name.

    Attributes:
        video_id: identity of the video.
        names: names that its file may have, without extension, the best first.
        folders: names that folders above the file may have, such as the label.
    """

    video_id: str
    names: tuple[str, ...]
    folders: tuple[str, ...] = ()


def named_clip(cells: Mapping[str, str | None]) -> NamedClip:
    """The clip of a row without a path.

    Args:
        cells: texts by the names of `list_columns`.

    Raises:
        ValueError: there is no id.
    """
    identity, youtube = cells.get("video_id"), cells.get(KINETICS[0])
    folders = tuple(filter(None, (cells.get("label"), cells.get("split"))))
    if youtube is None:
        if identity is None:
            raise ValueError("it has no id")
        return NamedClip(identity, (identity, f"v_{identity}"), folders)
    times = [_NUMBER.fullmatch(cells.get(name) or "") for name in KINETICS[1:3]]
    if None in times:
        return NamedClip(identity or youtube, (youtube,), folders)
    start, end = (int(found[1]) for found in times if found)
    name = f"{youtube}_{start:06d}_{end:06d}"
    return NamedClip(identity or name, (name, f"{youtube}_{start}_{end}", youtube), folders)


def without_placeholders(label: str) -> str:
    """A class name of Something-Something from the template of a video."""
    return _PLACEHOLDER.sub("", label)


def activitynet_rows(database: Mapping[str, Any]) -> Iterator[Row]:
    """Rows of ActivityNet's JSON: a video with segments of one class has it as label.

    Args:
        database: of each video by its id.
    """
    for number, (identity, about) in enumerate(database.items(), start=1):
        place = f"video {number}"
        try:
            found = {each["label"] for each in about.get("annotations", ())}
        except (AttributeError, KeyError, TypeError):
            yield bad_row(place, identity, "its annotations are not a list of labels")
            continue
        label = found.pop() if len(found) == 1 else None
        cells = {"video_id": identity, "label": label, "split": about.get("subset")}
        yield Row(place, cells, {identity: about})
