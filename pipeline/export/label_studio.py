"""Label Studio: tasks with predictions, and the labeling configuration that they need.

`tasks.json` is imported into a project whose labeling interface is `labeling_config.xml`. A video's
label is a choice with its score; segments are labels of a timeline, in frames counted from 1. Names
of classes are shown without control characters, which XML has not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any
from xml.sax.saxutils import quoteattr

from pipeline.export.labeled_videos import LabeledVideo
from pipeline.export.text_files import json_of, write_json, written
from pipeline.storage.location import Location
from sta.text import displayed

TASKS = "tasks.json"
CONFIG = "labeling_config.xml"
_FPS = 25.0  # where the frame rate of a video is not known


def write_label_studio(
    folder: Location,
    videos: Iterable[LabeledVideo],
    classes: Sequence[str],
    *,
    model: str,
    timeline: bool,
) -> None:
    """Writes the tasks, of failed videos without a prediction, and the configuration.

    Args:
        folder: where to.
        videos: of the run.
        classes: of the model.
        model: name of the model's version.
        timeline: whether videos have segments.
    """
    with written(folder.child(CONFIG)) as stream:
        stream.write(_config(classes, timeline=timeline).encode())
    tasks = (json_of(_task(video, model, timeline=timeline)) for video in videos)
    write_json(folder.child(TASKS), "[", tasks, "\n]\n")


def _config(classes: Sequence[str], *, timeline: bool) -> str:
    def tags(name: str) -> Iterator[str]:
        return (f"    <{name} value={quoteattr(displayed(each))}/>\n" for each in classes)

    lines = ["<View>\n"]
    if timeline:
        lines += ['  <TimelineLabels name="segments" toName="video">\n', *tags("Label")]
        lines += ["  </TimelineLabels>\n"]
    lines += ['  <Video name="video" value="$video" frameRate="$fps"/>\n']
    lines += ['  <Choices name="label" toName="video" choice="single">\n', *tags("Choice")]
    return "".join([*lines, "  </Choices>\n</View>\n"])


def _task(video: LabeledVideo, model: str, *, timeline: bool) -> dict[str, Any]:
    data = {"video": video.uri, "video_id": video.video_id, "fps": video.fps or _FPS}
    more = {"part": video.part, "ground_truth": video.ground_truth, "error": video.error}
    data |= {name: value for name, value in more.items() if value is not None}
    if video.label is None:
        return {"data": data}
    result = [_choice(video)]
    if timeline:
        result += _timeline(video)
    return {
        "data": data,
        "predictions": [{"model_version": model, "score": video.score, "result": result}],
    }


def _choice(video: LabeledVideo) -> dict[str, Any]:
    return {
        "id": "label",
        "from_name": "label",
        "to_name": "video",
        "type": "choices",
        "score": video.score,
        "value": {"choices": [displayed(video.label or "")]},
    }


def _timeline(video: LabeledVideo) -> Iterator[dict[str, Any]]:
    fps = video.fps or _FPS
    for number, segment in enumerate(video.segments):
        first, last = video.frames_of(segment) or (
            int(segment.start_s * fps) + 1,
            max(int(segment.start_s * fps) + 1, int(segment.end_s * fps)),
        )
        yield {
            "id": f"segment-{number}",
            "from_name": "segments",
            "to_name": "video",
            "type": "timelinelabels",
            "score": segment.score,
            "value": {
                "ranges": [{"start": first, "end": last}],
                "timelinelabels": [displayed(segment.label)],
            },
        }
