"""Labels that people gave, as the reference of a question."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.errors import RunError
from pipeline.heads.label_list import read_label_list
from pipeline.heads.left_out import LeftOut
from pipeline.inputs.list_options import ListOptions
from pipeline.questions.outcomes import Outcomes
from pipeline.storage.location import Location

TO_LABEL = "to_label.csv"


@dataclass(frozen=True)
class Truth:
    """Labels by video id.

    Attributes:
        labels: number of the class of each video; -1 for a label that is no class.
        file: the list.
        to_label: file for the videos that lack one.
    """

    labels: dict[str, int]
    file: Path
    to_label: Location

    @classmethod
    def read(
        cls, file: Path, lists: ListOptions, classes: Sequence[str], to_label: Location
    ) -> Truth:
        """The labels of a list, as heads read one: ids or paths, and a label in each row. A row
        with an empty label has none yet; before the first label the file need not be there.

        Raises:
            UsageError: the list cannot be read.
        """
        numbers = {name.casefold(): number for number, name in enumerate(classes)}
        place = Location.of(str(file))
        rows = read_label_list(place, lists, LeftOut()) if place.exists() else ()
        labels = {row.video_id: numbers.get(row.label.casefold(), -1) for row in rows if row.label}
        return cls(labels, file, to_label)

    @property
    def words(self) -> str:
        """Who gave the labels."""
        return f"labels that people gave, in {self.file}"

    def of(self, sample: Outcomes, asked: Sequence[int]) -> Outcomes:
        """The sample with these labels in place of the model's.

        Raises:
            RunError: a video of the sample has no label yet; the file `to_label` lists them.
        """
        known = np.array([name in self.labels for name in sample.video_ids], np.bool_)
        if not known.all():
            missing = sample.video_ids[~known]
            lines = io.StringIO()
            csv.writer(lines).writerows([("video_id", "label"), *((name, "") for name in missing)])
            self.to_label.write_bytes(lines.getvalue().encode())
            raise RunError(
                f"{len(missing):,} of the {len(sample):,} videos of this round have no label in "
                f"--truth {self.file}",
                advice=f"Label the videos in {self.to_label.uri}, add its rows to {self.file}, and "
                "ask again.",
            )
        given = np.array([self.labels[name] for name in sample.video_ids])
        found = (given[:, None] == np.array(asked)).astype(np.float64)
        ok = np.ones(len(sample), np.bool_)
        return dataclasses.replace(sample, found=found, clips=found, ok=ok)
