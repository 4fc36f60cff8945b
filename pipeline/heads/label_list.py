"""Reads a list of videos and labels, in every form in which a list of videos can be."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from pipeline.errors import UsageError
from pipeline.heads.left_out import LeftOut
from pipeline.inputs.dataset_lists import NamedClip
from pipeline.inputs.list_options import ListOptions
from pipeline.inputs.user_manifest import UserManifest
from pipeline.inputs.video import Video
from pipeline.inputs.video_root import VideoRoot
from pipeline.storage.location import Location

SEPARATOR = ";"


@dataclass(frozen=True)
class LabelRow:
    """A row of a list of labels.

    Attributes:
        video_id: the video; of a row without an id its uri as it is written.
        uri: absolute path or address of the video; "" in a list of ids.
        label: one label, several with SEPARATOR between them, or "" for none.
    """

    video_id: str
    uri: str
    label: str

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels, without empty ones."""
        return tuple(filter(None, map(str.strip, self.label.split(SEPARATOR))))


def read_label_list(file: Location, lists: ListOptions, left_out: LeftOut) -> Iterator[LabelRow]:
    """Reads a list of videos with labels: ids, paths or addresses.

    Args:
        file: CSV, TSV, JSON, JSON lines, Parquet or text.
        lists: how it is read.
        left_out: receives rows that cannot be read, where `lists` permits them.

    Raises:
        UsageError: the list cannot be read, a row is wrong, or it has no row.
    """
    # An empty root allows ids without paths, and leaves relative paths at the list's folder. Frame
    # folders are read for their names alone, whatever their rate.
    options = replace(lists, video_root=lists.video_root or "", fps=1.0)
    manifest = UserManifest(options, _AnyVideo, left_out.add, left_out.unread)
    found = False
    for video in manifest.videos_of_file(file):
        found = True
        yield LabelRow(video.video_id, video.uri, video.ground_truth or "")
    if not found:
        raise UsageError(f"{file.uri} has no row with a video")


class _AnyVideo(VideoRoot):
    """Takes each clip that a list names as a video, since the run says which there are."""

    def __init__(self) -> None:
        super().__init__("", ())

    def find(self, clip: NamedClip) -> Video:
        """A video of this name without a place."""
        return Video(clip.video_id, "")
