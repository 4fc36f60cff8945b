"""Folders of numbered pictures as videos, with `--fps`: found while files are listed."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from pipeline.inputs.video import Video
from workers.io.frame_folder import FrameFolder, is_frame


@dataclass
class FrameFolders:
    """Makes one video of the frames of each folder.

    Attributes:
        fps: frames a second; None if pictures are no frames.
        name: id of the video whose frames lie in the listed folder itself.
        make: the video of an address, a path below the listed folder and a size.
    """

    fps: float | None
    name: str
    make: Callable[[str, str, int | None], Video] = lambda uri, below, size: Video(below, uri, size)
    _folder: str = field(default="", repr=False)
    _waiting: Video | None = field(default=None, repr=False)
    _seen: set[str] = field(default_factory=set, repr=False)

    def takes(self, below: str) -> bool:
        """Whether a file is a frame, by its path below the listed folder."""
        return self.fps is not None and is_frame(posixpath.basename(below))

    def add(self, uri: str, below: str, size_bytes: int | None) -> Iterator[Video]:
        """Adds a frame; yields the video of the folder before, if this frame is of another."""
        assert self.fps is not None
        folder = posixpath.dirname(uri)
        before = self._waiting
        if before is not None and self._folder == folder:
            sizes = before.size_bytes, size_bytes
            total = None if None in sizes else sum(size or 0 for size in sizes)
            self._waiting = replace(before, size_bytes=total)
            return
        if folder in self._seen:  # keys of a subfolder lie between those of its folder
            return
        self._seen.add(folder)
        self._folder = folder
        video = self.make(folder, posixpath.dirname(below) or self.name, size_bytes)
        self._waiting = replace(video, part=str(FrameFolder(self.fps)))
        if before is not None:
            yield before

    def last(self) -> Iterator[Video]:
        """Yields the video of the last folder."""
        if self._waiting is not None:
            yield self._waiting
