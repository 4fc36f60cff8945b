"""A list of labels that people gave, some of them perhaps still empty."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from pipeline.errors import UsageError
from pipeline.heads.label_list import read_label_list
from pipeline.heads.left_out import LeftOut
from pipeline.inputs.list_options import ListOptions
from pipeline.inputs.list_rows import file_rows
from pipeline.storage.location import Location
from sta.text import displayed


@dataclass(frozen=True)
class TruthList:
    """The rows of a list that have a label.

    Attributes:
        rows: (video id, label), in the order of the list.
        unread: names of its columns that are not read.
    """

    rows: tuple[tuple[str, str], ...]
    unread: tuple[str, ...] = ()

    @classmethod
    def read(cls, file: Location, lists: ListOptions) -> TruthList:
        """Reads a list.

        Args:
            file: as heads read one.
            lists: how it is read.

        Raises:
            UsageError: the list cannot be read, or has no column of labels.
        """
        left_out = LeftOut()
        rows = tuple(
            (row.video_id, row.label) for row in read_label_list(file, lists, left_out) if row.label
        )
        made = cls(rows, tuple(left_out.unread))
        if not rows and not _has_labels(file, lists):
            raise UsageError(
                f"{file.uri} has no column of labels, which is called label, class, category, ... "
                f"or named by --label-column{made.unread_words or '; it has no other column'}"
            )
        return made

    @property
    def unread_words(self) -> str:
        """Such as `; not read is 'note'`; "" if all columns are read."""
        if not self.unread:
            return ""
        names = ", ".join(repr(displayed(name)) for name in self.unread)
        return f"; not read {'is' if len(self.unread) == 1 else 'are'} {names}"


NO_LIST = TruthList(())


def _has_labels(file: Location, lists: ListOptions) -> bool:
    """Whether a list has a column of labels, perhaps of empty ones."""
    options = dataclasses.replace(lists, video_root=lists.video_root or "", fps=1.0)
    return any("label" in row.cells for row in file_rows(file, options, {}))
