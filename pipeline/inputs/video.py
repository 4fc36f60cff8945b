"""A video of the input, before it is opened."""

from __future__ import annotations

from dataclasses import dataclass


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
