"""FiftyOne: a dataset of the type FiftyOneTemporalDetectionDataset.

`labels.json` has the classes, and under each video a list of temporal detections with label,
confidence and frames (or seconds, where the frame rate is not known). A local file is named by its
path. Other videos are named by their id without its ending: FiftyOne looks for them in `data/`
beside the file, if there is such a folder, or else in the list `data.json`. Its importer refuses to
open anything without either (`ImportPathsMixin` in fiftyone/utils/data/importers.py).
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import unquote

from pipeline.export.labeled_videos import LabeledVideo, Segment
from pipeline.export.text_files import json_of, write_json
from pipeline.storage.location import Location

DATA, LABELS = "data.json", "labels.json"


def write_fiftyone(
    folder: Location, videos: Iterable[LabeledVideo], classes: Iterable[str]
) -> None:
    """Writes the labeled videos, and an empty list of further ones."""
    before = f'{{"classes": {json_of(list(classes))},\n"labels": {{'
    write_json(folder.child(LABELS), before, _entries(videos), "}}\n")
    write_json(folder.child(DATA), "{", [], "}\n")


def _entries(videos: Iterable[LabeledVideo]) -> Iterator[str]:
    for video in videos:
        if video.segments:
            found = [_detection(video, segment) for segment in video.segments]
            yield f"{json_of(_key(video))}: {json_of(found)}"


def _key(video: LabeledVideo) -> str:
    path = video.uri
    if path.lower().startswith("file://"):
        path = unquote(path[len("file://") :])
    if video.part is None and os.path.isabs(path):
        return path
    return posixpath.splitext(video.video_id)[0]


def _detection(video: LabeledVideo, segment: Segment) -> dict[str, Any]:
    frames = video.frames_of(segment)
    where = (
        {"timestamps": [segment.start_s, segment.end_s]}
        if frames is None
        else {"support": list(frames)}
    )
    about = {"video_id": video.video_id, "start_s": segment.start_s, "end_s": segment.end_s}
    if video.ground_truth is not None:
        about["ground_truth"] = video.ground_truth
    return {"label": segment.label, "confidence": segment.score, "attributes": about} | where
