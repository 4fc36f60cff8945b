"""The files that patterns stand for, in an INPUT and in the uris of a list."""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from pipeline.errors import UsageError
from pipeline.inputs.left_out import LINKS_OUT, LINKS_TWICE, SPECIAL
from pipeline.inputs.patterns import Pattern, is_pattern
from pipeline.inputs.video import Video, file_video
from pipeline.inputs.video_names import left_out_path
from pipeline.storage.location import Location
from pipeline.storage.object_listing import entries, one_entry
from pipeline.storage.storage_errors import storage_reason
from sta.transport.object_address import OBJECT_SCHEMES, object_address
from sta.transport.responses import StoreError


@dataclass
class PatternFiles:
    """Finds the files and objects that patterns stand for.

    Attributes:
        folder: the videos of a local folder, by their names.
        takes: whether a file may be a video by its name below a folder, and its address.
        skip: called with the reason and the name of what is left out.
        follow_links: whether links that `*` finds may lead out of the pattern's folder.
    """

    folder: Callable[[str], Iterator[Video]]
    takes: Callable[[str, str], bool]
    skip: Callable[[str, str], None]
    follow_links: bool = False
    _seen: set[str] = field(default_factory=set)

    def is_pattern(self, location: Location, *, in_list: bool = False) -> bool:
        """Whether an address is a pattern, and not the name of what is there.

        Raises:
            UsageError: the name of a bucket is a pattern.
        """
        if location.is_object and is_pattern(object_address(location.uri).container):
            raise UsageError(f"{location.uri}: the name of a bucket cannot be a pattern")
        return is_pattern(location.uri, in_list=in_list) and not _exists(location)

    def videos(self, pattern: Pattern) -> Iterator[Video]:
        """The files that a pattern stands for, and those in the folders that it stands for.

        What `*` finds is taken by its name, as in a folder; what braces name is taken.

        Raises:
            UsageError: something that the pattern stands for is not there.
        """
        if Location(pattern.text).is_object:
            return self._objects(pattern)
        return self._files(pattern)

    def of_list(self, videos: Iterator[Video]) -> Iterator[Video]:
        """The videos of a list, with what a uri stands for in place of a pattern.

        Raises:
            UsageError: as in `videos`.
        """
        for video in videos:
            is_address = video.part is None and video.uri.startswith(("/", *OBJECT_SCHEMES))
            if not (is_address and self.is_pattern(Location(video.uri), in_list=True)):
                yield video
                continue
            is_own = not video.uri.endswith(video.video_id)
            above = video.video_id if is_own else Pattern(video.video_id).base
            for match in self.videos(Pattern(video.uri)):
                identity = posixpath.join(above, match.video_id)
                yield replace(match, video_id=identity, ground_truth=video.ground_truth)

    def _files(self, pattern: Pattern) -> Iterator[Video]:
        paths = list(pattern.paths())
        pattern.check_found()
        for path, is_named in paths:
            below = pattern.below(path)
            try:
                status = os.stat(path)
            except OSError:
                yield file_video(path, below, None)  # its row says why
                continue
            if not is_named and (reason := self._why_left_out(pattern, path, below)) is not None:
                self.skip(reason, below)
            elif stat.S_ISDIR(status.st_mode):
                for video in self.folder(path):
                    yield replace(video, video_id=posixpath.join(below, video.video_id))
            elif not stat.S_ISREG(status.st_mode):
                self.skip(SPECIAL, below)
            elif is_named or self.takes(below, path):
                yield file_video(path, below, status.st_size)

    def _why_left_out(self, pattern: Pattern, path: str, below: str) -> str | None:
        hidden = left_out_path(below.split("/")[:-1])
        if hidden is not None:
            return hidden[1]
        real, base = os.path.realpath(path), os.path.realpath(pattern.base)
        if not (self.follow_links or real == base or real.startswith(f"{base.rstrip('/')}/")):
            return LINKS_OUT
        if real in self._seen:
            return LINKS_TWICE
        self._seen.add(real)
        return None

    def _objects(self, pattern: Pattern) -> Iterator[Video]:
        found = []
        for video in _objects_below(pattern.base):
            is_named, below = pattern.match(video.uri), pattern.below(video.uri)
            is_hidden = left_out_path(below.split("/")[:-1]) is not None
            if is_named is None or is_hidden or below.endswith("/"):
                continue
            if video.uri in pattern.literals or self.takes(below, video.uri):
                found.append(replace(video, video_id=below))
        pattern.check_found()
        yield from found


def _exists(location: Location) -> bool:
    """Whether there is a file, folder, object or prefix of this very name."""
    if not location.is_object:
        return os.path.lexists(location.uri)
    try:
        return one_entry(location.uri) is not None or any(entries(location.uri))
    except StoreError as error:
        raise UsageError(f"cannot list {location.uri}: {storage_reason(error)}") from error


def _objects_below(folder: str) -> Iterator[Video]:
    """All objects below a folder."""
    scheme, _, path = folder.partition("://")
    for entry in entries(folder):
        uri = f"{scheme}://{path.partition('/')[0]}/{entry.key}"
        yield Video(uri, uri, entry.size, etag=entry.etag)
