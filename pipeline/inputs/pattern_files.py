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
from pipeline.inputs.video import Video
from pipeline.inputs.video_names import left_out_path
from pipeline.storage.location import Location
from sta.transport.object_address import OBJECT_SCHEMES, object_address


@dataclass
class PatternFiles:
    """Finds the files and objects that patterns stand for.

    Attributes:
        exists: whether there is a file, folder, object or prefix of this very name.
        folder: the videos of a local folder, by their names.
        objects: all objects below a folder.
        file: the video of a path, by its id and size.
        takes: whether a file may be a video by its name below a folder, and its address.
        skip: called with the reason and the name of what is left out.
        follow_links: whether links that `*` finds may lead out of the pattern's folder.
    """

    exists: Callable[[Location], bool]
    folder: Callable[[str], Iterator[Video]]
    objects: Callable[[str], Iterator[Video]]
    file: Callable[[str, str, int | None], Video]
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
        return is_pattern(location.uri, in_list=in_list) and not self.exists(location)

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
                yield self.file(path, below, None)  # its row says why
                continue
            if not is_named and (reason := self._why_left_out(pattern, path, below)) is not None:
                self.skip(reason, below)
            elif stat.S_ISDIR(status.st_mode):
                for video in self.folder(path):
                    yield replace(video, video_id=posixpath.join(below, video.video_id))
            elif not stat.S_ISREG(status.st_mode):
                self.skip(SPECIAL, below)
            elif is_named or self.takes(below, path):
                yield self.file(path, below, status.st_size)

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
        for video in self.objects(pattern.base):
            is_named, below = pattern.match(video.uri), pattern.below(video.uri)
            is_hidden = left_out_path(below.split("/")[:-1]) is not None
            if is_named is None or is_hidden or below.endswith("/"):
                continue
            if video.uri in pattern.literals or self.takes(below, video.uri):
                found.append(replace(video, video_id=below))
        pattern.check_found()
        yield from found
