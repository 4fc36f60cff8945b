"""A video of the input, before it is opened."""

from __future__ import annotations

import os
from dataclasses import dataclass
from urllib.parse import quote


@dataclass(frozen=True)
class Video:
    """One video of the input.

    Attributes:
        video_id: identity: the path below the listed folder, or the video_id of a list.
        uri: absolute path, file:// or s3:// address.
        size_bytes: size when it was listed; None if a list does not give it.
        ground_truth: label that the input gives; None without one.
        etag: ETag of the object when it was listed, in quotes; of a local archive what `file_etag`
            gives; None for other files.
        duration_s: length in seconds; None if not known.
        part: where the video lies within `uri`, see `workers.io.parts`; None if `uri` is the video.
    """

    video_id: str
    uri: str
    size_bytes: int | None = None
    ground_truth: str | None = None
    etag: str | None = None
    duration_s: float | None = None
    part: str | None = None


def file_video(path: str, video_id: str, size_bytes: int | None) -> Video:
    """The video of a local file, whose name need not be Unicode.

    Args:
        path: absolute path.
        video_id: the path below the listed folder.
        size_bytes: None if it is not known.
    """
    try:
        path.encode()
        return Video(video_id, path, size_bytes)
    except UnicodeEncodeError:
        # Tables hold Unicode. Other names are escaped, in two ways that keep all bytes. No other
        # path below a folder begins with "./", so the id is no other file's.
        escaped = os.fsencode(video_id).replace(b"\\", b"\\\\").decode("utf-8", "backslashreplace")
        return Video(f"./{escaped}", f"file://{quote(os.fsencode(path))}", size_bytes)
