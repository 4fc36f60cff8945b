"""ActivityNet: the JSON of detections that its evaluation reads.

`results` has for each video a list of label, score and segment in seconds. Further keys, which the
evaluation does not read, are in `external_data`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pipeline.export.labeled_videos import LabeledVideo
from pipeline.export.text_files import json_of, write_json
from pipeline.storage.location import Location

DETECTIONS = "activitynet.json"


def write_activitynet(folder: Location, videos: Iterable[LabeledVideo], *, model: str) -> None:
    """Writes the segments of the labeled videos."""
    about = json_of({"used": True, "details": model})
    before = f'{{"version": "VERSION 1.3",\n"external_data": {about},\n"results": {{'
    write_json(folder.child(DETECTIONS), before, _entries(videos), "}}\n")


def _entries(videos: Iterable[LabeledVideo]) -> Iterator[str]:
    for video in videos:
        found = [
            {"label": each.label, "score": each.score, "segment": [each.start_s, each.end_s]}
            for each in video.segments
        ]
        if found:
            yield f"{json_of(video.video_id)}: {json_of(found)}"
