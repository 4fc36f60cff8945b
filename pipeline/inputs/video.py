"""What is known of a video before it is opened."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Video:
    """One video of the input.

    Attributes:
        video_id: its identity: the path below the listed folder, or what the manifest says.
        uri: absolute path, file:// or s3:// address.
        size_bytes: size as listed, None where a manifest does not tell.
        ground_truth: label that the input gives; None where it gives none.
        etag: ETag of the object as listed, in its quotes; None for files.
        duration_s: length in seconds, None if not known.
    """

    video_id: str
    uri: str
    size_bytes: int | None = None
    ground_truth: str | None = None
    etag: str | None = None
    duration_s: float | None = None
