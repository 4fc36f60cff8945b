"""Suggests which videos of a run to label next, and writes what labeling tools read."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from pipeline.embeddings.features import feature_spec, read_head
from pipeline.embeddings.read import embedding_record
from pipeline.embeddings.suggestion import Pick, choose
from pipeline.errors import UsageError
from pipeline.export.fiftyone import write_fiftyone
from pipeline.export.label_studio import write_label_studio
from pipeline.export.labeled_videos import LabeledVideo, Segment, labeled_videos
from pipeline.run.run_directory import RunDirectory
from pipeline.search.candidates import Candidates, Prediction, read_candidates
from pipeline.search.files import SearchFiles
from pipeline.search.label_file import read_labeled, write_label_file
from pipeline.search.suggest_page import Suggested, Suggestion, suggest_page, suggest_screen
from pipeline.search.thumbnails import thumbnails
from pipeline.search.video_rows import rows_of
from pipeline.storage.location import Location
from sta.errors import CheckpointError
from sta.heads import LinearHead
from workers.schema import column

FOLDER = "suggest"
MOST = 10_000

_LABELS = "labels.csv"
SCHEMA = pa.schema(
    [
        column("rank", pa.int32(), "1 for the first to label"),
        column("video_id", pa.string(), "identity of the video"),
        column("uri", pa.string(), "path or address of the video"),
        column("part", pa.string(), "where the video lies within uri; null: uri is the video"),
        column("rule", pa.string(), "uncertain, far or cluster: why it was chosen"),
        column("reason", pa.string(), "the same in words"),
        column("cluster", pa.int32(), "number of its cluster, from 1"),
        column("predicted", pa.string(), "its most probable class"),
        column("score", pa.float32(), "probability of that class"),
        column("margin", pa.float32(), "difference to the next class"),
    ]
)


@dataclass(frozen=True)
class SuggestSettings:
    """What to suggest, and where it goes.

    Attributes:
        output: directory or s3://bucket/prefix of the run.
        count: number of videos.
        labeled: a list of videos that have labels; None for none.
        head: file of a head whose predictions count; None for those of the run.
        thumbnails: number of videos whose frames are decoded for the page.
        folder: where the files go; None for suggest/ in the run.
        overwrite: whether files of an earlier suggestion may be replaced.
    """

    output: str
    count: int = 200
    labeled: str | None = None
    head: str | None = None
    thumbnails: int = 200
    folder: str | None = None
    overwrite: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.count <= MOST:
            raise UsageError(f"-n must be 1 to {MOST:,}; got {self.count}")
        if self.thumbnails < 0:
            raise UsageError(f"--thumbnails must be 0 or more; got {self.thumbnails}")


def suggest(settings: SuggestSettings) -> str:
    """Suggests, writes the files, and returns what the screen says.

    Raises:
        UsageError: the run stores no embeddings, the head does not fit them, all videos are
            labeled, or a file exists or cannot be written.
        OSError, pyarrow.ArrowException: a table cannot be read.
    """
    run = RunDirectory(Location.of(settings.output))
    record = embedding_record(run)
    head = None if settings.head is None else _fitting_head(run, settings.head)
    labeled = set() if settings.labeled is None else read_labeled(Location.of(settings.labeled))
    folder = run.root.child(FOLDER) if settings.folder is None else Location.of(settings.folder)
    _check_free(folder, overwrite=settings.overwrite)
    files = SearchFiles(folder, FOLDER)
    candidates = read_candidates(run, labeled=labeled, head=head)
    picks = choose(
        candidates.vectors, candidates.margins, settings.count, labeled=candidates.labeled
    )
    if not picks:
        raise UsageError(f"no video of {run.root.uri} is left to label")
    found = _suggested(run, candidates, picks)
    rows = [_row(rank, each) for rank, each in enumerate(found.suggestions, start=1)]
    files.write(rows, SCHEMA, {"run": run.root.uri, "labeled": len(candidates.labeled)})
    write_label_file(folder.child(_LABELS), [_without(row) for row in rows])
    model = record.model.architecture if head is None else f"head {head.fingerprint[7:19]}"
    _write_for_tools(run, folder, found, head, model=model)
    views = {each.video.video_id: None for each in found.suggestions}
    frames = thumbnails(run, views, most=settings.thumbnails)
    files.write_page(suggest_page(found, frames, run.root.uri))
    return suggest_screen(found, files, folder.child(_LABELS), run.root)


def _fitting_head(run: RunDirectory, name: str) -> LinearHead:
    head = read_head(Location.of(name))
    try:
        head.features.check_fits(feature_spec(run.load()), run.root.uri)
    except CheckpointError as error:
        raise UsageError(str(error)) from error
    return head


def _check_free(folder: Location, *, overwrite: bool) -> None:
    folder.check_writable()
    file = folder.child(_LABELS)
    if file.exists() and not overwrite:
        raise UsageError(
            f"there is already {file.uri}, which may hold your labels: name another folder by "
            "--out, or give --overwrite"
        )


def _suggested(run: RunDirectory, candidates: Candidates, picks: Sequence[Pick]) -> Suggested:
    rows = rows_of(run, [candidates.video_ids[pick.place] for pick in picks])
    return Suggested(
        suggestions=tuple(
            Suggestion(
                rows[candidates.video_ids[pick.place]],
                pick,
                candidates.predictions[pick.place],
                any_labeled=bool(len(candidates.labeled)),
            )
            for pick in picks
        ),
        candidates=len(candidates.video_ids),
        available=candidates.available,
        labeled=len(candidates.labeled),
    )


def _row(rank: int, each: Suggestion) -> dict[str, object]:
    return {
        "rank": rank,
        "video_id": each.video.video_id,
        "uri": each.video.uri,
        "part": each.video.part,
        "rule": each.pick.reason,
        "reason": each.reason,
        "cluster": each.pick.cluster,
        "predicted": each.prediction.label,
        "score": each.prediction.score,
        "margin": each.prediction.margin,
    }


def _without(row: dict[str, object]) -> dict[str, object]:
    kept = {name: row[name] for name in ("video_id", "uri", "predicted", "reason")}
    return kept | {"score": f"{row['score']:.3f}"}


def _write_for_tools(
    run: RunDirectory, folder: Location, found: Suggested, head: LinearHead | None, *, model: str
) -> None:
    """Label Studio's tasks and FiftyOne's samples, in the order of the suggestions."""
    record = run.load()
    order = {each.video.video_id: rank for rank, each in enumerate(found.suggestions)}
    videos = sorted(labeled_videos(run, set(order)), key=lambda video: order[video.video_id])
    if head is not None:
        predictions = [each.prediction for each in found.suggestions]
        videos = [_relabeled(video, each) for video, each in zip(videos, predictions, strict=True)]
    classes = record.model.labels if head is None else head.labels
    timeline = head is None and record.identity.has_segments
    write_label_studio(
        folder.child("label_studio"), videos, classes, model=model, timeline=timeline
    )
    write_fiftyone(folder.child("fiftyone"), videos, classes)


def _relabeled(video: LabeledVideo, prediction: Prediction) -> LabeledVideo:
    label = (prediction.label, prediction.label_id, prediction.score)
    whole = Segment(0.0, video.duration_s or 0.0, *label, clips=1)
    return dataclasses.replace(
        video, label=label[0], label_id=label[1], score=label[2], segments=(whole,)
    )
