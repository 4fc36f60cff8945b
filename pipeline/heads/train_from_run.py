"""Trains a head from a run and a list of labels, and writes its file."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pipeline.embeddings.features import feature_spec
from pipeline.embeddings.read import embedding_record, read_embeddings
from pipeline.errors import UsageError
from pipeline.formatting import json_text
from pipeline.heads.fitting import check_installed
from pipeline.heads.label_list import read_label_list
from pipeline.heads.labeled_features import features_of
from pipeline.heads.left_out import LeftOut
from pipeline.heads.matching import check_trainable, match_labels
from pipeline.heads.train import SEED, TrainedHead, train_head
from pipeline.inputs.list_options import ListOptions
from pipeline.run.run_directory import RunDirectory
from pipeline.storage.location import Location
from sta.heads import head_bytes

if TYPE_CHECKING:
    from pipeline.heads.choice import MethodChoice

# With fewer videos, no two of them could be held out of each of two classes and leave any.
FEWEST = 6


@dataclass(frozen=True)
class HeadTraining:
    """What a head is trained from, and where it goes.

    Attributes:
        output: directory or prefix of a finished run with embeddings.
        labels: list of videos with labels.
        dest: file of the head.
        report: file of the report as JSON; None for none.
        lists: how the list is read.
        multi_label: whether a video may have several labels, or none; None if one has several.
        method: how the head is fitted.
        labels_license: of the labels, as text; "" if it is not said.
        seed: of all random numbers.
        overwrite: whether files that are there are replaced.
    """

    output: str
    labels: str
    dest: str
    report: str | None = None
    lists: ListOptions = field(default_factory=ListOptions)
    multi_label: bool | None = None
    method: MethodChoice = "auto"
    labels_license: str = ""
    seed: int = SEED
    overwrite: bool = False


@dataclass(frozen=True)
class WrittenHead:
    """A trained head in its file.

    Attributes:
        trained: the head.
        left_out: rows of the list that were not used.
        size_bytes: of the file.
    """

    trained: TrainedHead
    left_out: LeftOut
    size_bytes: int


def train_from_run(training: HeadTraining) -> WrittenHead:
    """Trains a head and writes its file.

    Raises:
        UsageError: scikit-learn is missing, a file is there already, the run stores no embeddings,
            the list cannot be read, or its labels are too few.
        OSError, pyarrow.ArrowException: a table of the run cannot be read.
    """
    check_installed()
    dest = Location.of(training.dest)
    report = None if training.report is None else Location.of(training.report)
    for each in filter(None, (dest, report)):
        if each.exists() and not training.overwrite:
            raise UsageError(
                f"{each.uri} is there already; --overwrite replaces it, or name another file"
            )
    run = RunDirectory(Location.of(training.output))
    record = embedding_record(run)
    left_out = LeftOut()
    rows = read_label_list(Location.of(training.labels), training.lists, left_out)
    labels = match_labels(rows, run, left_out, multi_label=training.multi_label)
    videos = tuple(labels.by_video)
    check_trainable(labels.targets(videos), FEWEST)
    batches = read_embeddings(run.root, videos=videos)
    features = features_of(batches, videos, left_out)
    targets = labels.targets(features.video_ids)
    check_trainable(targets, FEWEST)
    trained = train_head(
        features,
        targets,
        feature_spec(record),
        run_id=record.run_id or "",
        checkpoint=record.model.checkpoint,
        method=training.method,
        left_out=left_out.counts,
        license=record.model.license,
        labels_license=training.labels_license,
        seed=training.seed,
    )
    content = head_bytes(trained.head)
    dest.write_bytes(content)
    if report is not None:
        report.write_bytes(json_text(trained.report.to_json()).encode())
    return WrittenHead(trained, left_out, len(content))
