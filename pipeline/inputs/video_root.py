"""Files of a folder or prefix by name, for lists that name ids instead of files."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable
from itertools import islice

from pipeline.inputs.dataset_lists import NamedClip
from pipeline.inputs.video import Video

_EXAMPLES = 3
_REPLACEMENT = "replacement"
_IGNORED = re.compile(r"[\s_]+")


class VideoRoot:
    """The videos below `--video-root`, listed once and found by their names.

    It takes some 700 bytes of memory for each file.

    Args:
        uri: the folder or prefix.
        videos: the videos below it.
    """

    def __init__(self, uri: str, videos: Iterable[Video]) -> None:
        self.uri = uri
        self._by_name: dict[str, list[Video]] = {}
        for video in videos:
            name = posixpath.splitext(posixpath.basename(video.video_id))[0]
            self._by_name.setdefault(name, []).append(video)

    def find(self, clip: NamedClip) -> Video | None:
        """The file of a clip; None if there is none.

        Of several files with the best name, the one is taken that lies in a folder named
        `replacement...`, as Kinetics' files for corrupted ones do, or else whose folders have most
        of the clip's, such as its label, with blanks as `_` or as they are.

        Raises:
            ValueError: several files fit as well.
        """
        found = next((self._by_name[name] for name in clip.names if name in self._by_name), [])
        if len(found) < 2:
            return found[0] if found else None
        wanted = set(map(_folded, clip.folders))
        fits = [_fit(wanted, video) for video in found]
        best = [video for video, fit in zip(found, fits, strict=True) if fit == max(fits)]
        if len(best) > 1:
            some = ", ".join(video.video_id for video in best[:_EXAMPLES])
            raise ValueError(f"{len(best)} files below {self.uri} may be its video: {some}")
        return best[0]

    def held(self) -> str:
        """What is there, for a message."""
        count = sum(map(len, self._by_name.values()))
        if not count:
            return f"{self.uri} holds no video"
        some = [files[0].video_id for files in islice(self._by_name.values(), _EXAMPLES)]
        return f"{self.uri} holds {count:,} videos, such as {', '.join(some)}"


def _fit(wanted: set[str], video: Video) -> tuple[bool, int]:
    """Whether a file replaces another one, and how many of its folders are wanted ones."""
    folders = set(map(_folded, posixpath.dirname(video.video_id).split("/")))
    return any(name.startswith(_REPLACEMENT) for name in folders), len(wanted & folders)


def _folded(name: str) -> str:
    return _IGNORED.sub("", name).casefold()
