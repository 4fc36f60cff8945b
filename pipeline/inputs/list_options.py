"""How a list of videos is read where its own content does not say it."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields, replace


@dataclass(frozen=True)
class ListOptions:
    """What a user says about a list; None for what the list itself says.

    Attributes:
        uri_column: name of the column with paths or addresses.
        label_column: name of the column with labels.
        id_column: name of the column with video ids.
        delimiter: character between the cells of a text list.
        video_root: folder or prefix of the videos that the list names.
        skip_bad_lines: leave out rows that cannot be read, and count them.
    """

    uri_column: str | None = None
    label_column: str | None = None
    id_column: str | None = None
    delimiter: str | None = None
    video_root: str | None = None
    skip_bad_lines: bool = False

    def resolved(self) -> ListOptions:
        """The options with a folder by its path without links, for comparisons."""
        root = self.video_root
        if root is None or not root.startswith("/"):
            return self
        return replace(self, video_root=os.path.realpath(root))

    @property
    def flags(self) -> list[str]:
        """The flags that were given, without `--skip-bad-lines`, which any input may have."""
        given = [each.name for each in fields(self) if getattr(self, each.name)]
        return [f"--{name.replace('_', '-')}" for name in given if name != "skip_bad_lines"]


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
