"""Which classes of a checkpoint stand for which labels; needs no torch."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass


@dataclass(frozen=True)
class LabelMap:
    """Which classes of a checkpoint stand for which labels.

    Attributes:
        labels: in the order of the logits.
        rows: classes of the checkpoint that have a label, ordered by label.
        label_of_row: number of the label of each.
        classes: how many the checkpoint has.
    """

    labels: tuple[str, ...]
    rows: tuple[int, ...]
    label_of_row: tuple[int, ...]
    classes: int

    @property
    def is_one_to_one(self) -> bool:
        """Whether each label is one class."""
        return len(self.rows) == len(self.labels)

    @property
    def rows_of_label(self) -> list[list[int]]:
        """The rows of the reduced head that stand for each label."""
        rows: list[list[int]] = [[] for _ in self.labels]
        for row, label in enumerate(self.label_of_row):
            rows[label].append(row)
        return rows

    @property
    def fingerprint(self) -> str:
        """ "sha256:" and a digest of which class is which label."""
        content = json.dumps([self.labels, self.rows, self.label_of_row])
        return f"sha256:{hashlib.sha256(content.encode()).hexdigest()}"
