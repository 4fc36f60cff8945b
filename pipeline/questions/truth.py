"""Labels that people gave, as the reference of a question."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.errors import RunError, UsageError
from pipeline.inputs.list_options import ListOptions
from pipeline.messages import say
from pipeline.questions.outcomes import Outcomes
from pipeline.questions.truth_list import NO_LIST, TruthList
from pipeline.questions.unknown_labels import unknown_labels
from pipeline.run.row_lookup import rows_with
from pipeline.run.run_directory import RunDirectory
from pipeline.storage.location import Location
from sta.text import displayed

TO_LABEL = "to_label.csv"


@dataclass(frozen=True)
class Truth:
    """Labels by video id.

    Attributes:
        labels: of each video, from both lists.
        classes: names of the model's classes; another label is none of them.
        file: the list that was named.
        given: what is in it; without labels where it is `to_label` or not there.
        to_label: file for the videos that lack a label.
        filled: what people filled in there.
    """

    labels: Mapping[str, str]
    classes: Sequence[str]
    file: Path
    given: TruthList
    to_label: Location
    filled: TruthList

    @classmethod
    def read(
        cls, file: Path, lists: ListOptions, classes: Sequence[str], to_label: Location
    ) -> Truth:
        """The labels of a list, as heads read one, and those that were filled in in `to_label`. A
        row with an empty label has none yet; before the first label the file need not be there.

        Args:
            file: ids or paths, and a label in each row; it may be `to_label`.
            lists: how it is read.
            classes: names of the model's classes.
            to_label: file for the videos that lack a label.

        Raises:
            UsageError: a list cannot be read or has no column of labels, or a video has two
                different labels.
        """
        place = Location.of(str(file))
        is_other = place.resolved() != to_label.resolved()
        given = TruthList.read(place, lists) if is_other and place.exists() else NO_LIST
        filled = _filled(to_label) if to_label.exists() else NO_LIST
        labels: dict[str, tuple[str, str]] = {}
        for listed, name in ((given, str(file)), (filled, to_label.uri)):
            for video, label in listed.rows:
                before, where = labels.setdefault(video, (label, name))
                if before.casefold() != label.casefold():
                    raise UsageError(
                        f"{displayed(video)} has two labels: {before!r} in {where} and {label!r} "
                        f"in {name}; remove one"
                    )
        texts = {video: label for video, (label, _) in labels.items()}
        return cls(texts, classes, file, given, to_label, filled)

    @property
    def words(self) -> str:
        """Who gave the labels."""
        lists = [str(self.file)] if self.given.rows else []
        lists += [self.to_label.uri] if self.filled.rows else []
        return f"labels that people gave, in {' and '.join(lists or [str(self.file)])}"

    def tell(self, run: RunDirectory, asked: Sequence[int], source: str) -> None:
        """Tells which labels are of no use: of videos that the input lacks, and of no class.

        Args:
            run: its manifest has the videos of the input.
            asked: numbers of the classes that are asked for.
            source: name of the input.
        """
        if not self.labels:
            return
        tables = rows_with(run.manifest, "video_id", self.labels.keys(), ["video_id"])
        known = {name for table in tables for name in table["video_id"].to_pylist()}
        if foreign := [name for name in self.labels if name not in known]:
            say(
                f"{len(foreign):,} of the {len(self.labels):,} videos that people labeled "
                f"{'is' if len(foreign) == 1 else 'are'} not in {source}, such as "
                f"{displayed(foreign[0])}"
            )
        labels = [label for name, label in self.labels.items() if name in known]
        say(unknown_labels(labels, self.classes, [self.classes[number] for number in asked]))

    def of(self, sample: Outcomes, asked: Sequence[int]) -> Outcomes:
        """The sample with these labels in place of the model's.

        Raises:
            RunError: a video of the sample has no label yet; the file `to_label` lists them, after
                the rows that were filled in there.
        """
        known = np.array([name in self.labels for name in sample.video_ids], np.bool_)
        if not known.all():
            missing = tuple(dict.fromkeys(sample.video_ids[~known]))
            self._write(missing)
            raise RunError(
                f"{len(missing):,} of the {len(set(sample.video_ids)):,} videos of this round "
                f"have no label in --truth {self.file}{self._why(sample)}",
                advice=f"Fill in the labels in {self.to_label.uri} and ask again: they count, as "
                "those of --truth do.",
            )
        numbers = {name.casefold(): number for number, name in enumerate(self.classes)}
        given = np.array(
            [numbers.get(self.labels[name].casefold(), -1) for name in sample.video_ids]
        )
        found = (given[:, None] == np.array(asked)).astype(np.float64)
        ok = np.ones(len(sample), np.bool_)
        return dataclasses.replace(sample, found=found, clips=found, ok=ok)

    def _why(self, sample: Outcomes) -> str:
        """What may be wrong with the list; "" if it has some of the sample's labels."""
        if not Location.of(str(self.file)).exists():
            return ": there is no such file"
        given = self.given.rows
        sampled = set(sample.video_ids)
        if not given or any(video in sampled for video, _ in given):
            return ""
        return (
            f": none of its {len(given):,} rows with a label is of a video of this round; its "
            f"videos are such as {displayed(given[0][0])}, those of this round such as "
            f"{displayed(sample.video_ids[0])} (--id-column and --uri-column name its columns"
            f"{self.given.unread_words})"
        )

    def _write(self, missing: Sequence[str]) -> None:
        lines = io.StringIO()
        blank = [(name, "") for name in missing]
        csv.writer(lines).writerows([("video_id", "label"), *self.filled.rows, *blank])
        self.to_label.write_bytes(lines.getvalue().encode())


def _filled(to_label: Location) -> TruthList:
    """What people filled in, without flags of the lists: its columns are always the same, and a row
    that is left out would be lost when the file is written again.
    """
    try:
        return TruthList.read(to_label, ListOptions())
    except UsageError as error:
        reason = str(error).partition("; --skip-bad-lines")[0]
        raise UsageError(
            f"{reason}; the columns of {TO_LABEL} are video_id and label, whatever the flags are"
        ) from None
