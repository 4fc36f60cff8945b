"""How a list of videos is read where its own content does not say it."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields, replace

from pipeline.flags import flag

_LISTS = "lists of videos"


def fps_of(text: str) -> float:
    """The frames a second that a user names.

    Raises:
        ValueError: it is no number of the range that folders of frames can have.
    """
    from workers.io.frame_table import FPS  # loads what --help does not need

    try:
        fps = float(text)
    except ValueError:
        fps = 0.0
    if not FPS[0] <= fps <= FPS[1]:
        raise ValueError(
            f"the frames a second must be a number from {FPS[0]:g} to {FPS[1]:,.0f}, such as 25; "
            f"got {text!r}"
        )
    return fps


def delimiter_of(text: str) -> str:
    """The delimiter that a user names: one character, or tab, space, comma, semicolon or pipe.

    Raises:
        ValueError: it is none of these.
    """
    named = _NAMED.get(text.lower(), text)
    if len(named) != 1 or named.isalnum() or named in '"\r\n':
        raise ValueError(
            f"a delimiter is one character, such as , or |, or {', '.join(_NAMED)}; got {text!r}"
        )
    return named


_NAMED = {"tab": "\t", "\\t": "\t", "space": " ", "comma": ",", "semicolon": ";", "pipe": "|"}
_OF_ANY_INPUT = ("skip_bad_lines", "fps")


@dataclass(frozen=True)
class ListOptions:
    """What a user says about a list; None for what the list itself says. Fields are flags.

    Attributes:
        uri_column: name of the column with paths or addresses.
        label_column: name of the column with labels.
        id_column: name of the column with video ids.
        delimiter: character between the cells of a text list.
        video_root: folder or prefix of the videos that the list names.
        skip_bad_lines: leave out rows that cannot be read, and count them.
        fps: frames a second of folders of frames, in a list or not; None to read none.
    """

    uri_column: str | None = flag(
        "column of a list with paths or addresses (default: uri, path, file_name, url, ...)",
        None,
        metavar="NAME",
        group=_LISTS,
    )
    label_column: str | None = flag(
        "column of a list with labels: class names, or class ids from 0 (default: label, class, "
        "category, ...)",
        None,
        metavar="NAME",
        group=_LISTS,
    )
    id_column: str | None = flag(
        "column of a list with video ids (default: video_id; without one, the uri is the id); with "
        "--video-root and no column of paths, files are found by this id",
        None,
        metavar="NAME",
        group=_LISTS,
    )
    delimiter: str | None = flag(
        "character between the cells of a text list, or tab, space, comma, semicolon, pipe "
        "(default: the one that every line fits)",
        None,
        type=delimiter_of,
        metavar="C",
        group=_LISTS,
    )
    video_root: str | None = flag(
        "directory or s3://bucket/prefix of the videos that a list names: relative paths start "
        "here and not at the list's folder, and the lists of Kinetics, Something-Something and "
        "ActivityNet, which name ids, are matched with the files below it",
        None,
        metavar="DIR",
        group=_LISTS,
    )
    skip_bad_lines: bool = flag(
        "leave out rows of a list that cannot be read, and count them; without this flag the first "
        "one ends the command before any work",
        False,
        group=_LISTS,
    )
    fps: float | None = flag(
        "frames a second of videos that are folders of numbered pictures, such as img_00001.jpg: "
        "one video a folder, also of a list of `folder frames label`",
        None,
        type=fps_of,
        metavar="N",
        group=_LISTS,
    )

    def __post_init__(self) -> None:
        if self.video_root:
            from pipeline.storage.location import Location  # loads what --help does not need

            object.__setattr__(self, "video_root", Location.of(self.video_root).uri)

    def resolved(self) -> ListOptions:
        """The options with a folder by its path without links, for comparisons."""
        root = self.video_root
        if root is None or not root.startswith("/"):
            return self
        return replace(self, video_root=os.path.realpath(root))

    @property
    def flags(self) -> list[str]:
        """The flags that were given, without those that any input may have."""
        given = [each.name for each in fields(self) if getattr(self, each.name)]
        return [f"--{name.replace('_', '-')}" for name in given if name not in _OF_ANY_INPUT]


LISTS = tuple(field.name for field in fields(ListOptions))
"""The attributes that these flags set."""
