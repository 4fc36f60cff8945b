"""Which files of a listing may be videos, by their names, sizes and first bytes."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass

from pipeline.inputs.left_out import SECRET_NAMES
from pipeline.inputs.shards import is_archive
from pipeline.inputs.video import Video
from pipeline.inputs.video_names import (
    AMBIGUOUS_EXTENSIONS,
    EMPTY,
    NO_EXTENSION,
    VIDEO_EXTENSIONS,
    extension_of,
    left_out_file,
)
from sta.text import holds_secret
from sta.transport.object_address import is_remote
from workers.decoding.sniffing import DAMAGED, other_format
from workers.io.frame_folder import is_folder
from workers.io.parts import refusal


@dataclass(frozen=True)
class VideoFilter:
    """Tells why a file is no video; reasons are keys of `Listing.skipped`.

    Attributes:
        all_files: whether files without a video's extension may be videos, unless their first bytes
            show another format.
    """

    all_files: bool = False

    def why_not_listed(self, name: str, uri: str) -> str | None:
        """Why a file is left out by its name below the source and its address; None if it may be
        a video or an archive of videos.
        """
        reason = self.why_no_file(name)
        return SECRET_NAMES if reason is None and holds_secret(uri) else reason

    def why_no_file(self, name: str) -> str | None:
        """Why a file is neither a video nor an archive of videos by its name; None if it may be."""
        return (
            left_out_file(posixpath.basename(name)) if is_archive(name) else self._why_no_name(name)
        )

    def why_no_member(self, name: str) -> str | None:
        """Why a member of an archive is no video by its name; None if it may be one."""
        reason = self._why_no_name(name)
        return SECRET_NAMES if reason is None and holds_secret(name) else reason

    def _why_no_name(self, name: str) -> str | None:
        """Why a file is no video by its name below the source; None if it may be one."""
        reason, extension = left_out_file(posixpath.basename(name)), extension_of(name)
        if reason is not None or extension in VIDEO_EXTENSIONS:
            return reason
        if self.all_files and extension != ".parquet":
            return None
        return extension or NO_EXTENSION

    def needs_head(self, video: Video) -> bool:
        """Whether to read the first bytes of a file; for an object that takes a request."""
        if video.size_bytes == 0 or refusal(video.part) is not None or is_folder(video.part):
            return False
        extension = extension_of(video.video_id)
        if is_remote(video.uri) and not self.all_files:
            return False
        return extension not in VIDEO_EXTENSIONS or extension in AMBIGUOUS_EXTENSIONS

    def why_no_video(self, video: Video, head: bytes | None) -> str | None:
        """Why a file is no video by its size and first bytes; None if it may be one."""
        if refusal(video.part) is not None or is_folder(video.part):
            return None
        if video.size_bytes == 0:
            return EMPTY
        other = None if head is None else other_format(head)
        extension = extension_of(video.video_id)
        named = extension in VIDEO_EXTENSIONS
        if other is None or (named and other in DAMAGED):
            return None
        kind = other.removeprefix("an ").removeprefix("a ").partition(",")[0]
        return f"{extension} ({kind})" if named else kind
