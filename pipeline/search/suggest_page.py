"""The page and the screen of videos to label next."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

from pipeline.embeddings.suggestion import Pick, Reason
from pipeline.formatting import counted, short_names, text_table
from pipeline.job_commands import arguments, job_words, next_lines, short_path
from pipeline.reports.html.report import Facts, Section, Tile, Tiles, report_page
from pipeline.search.candidates import Prediction
from pipeline.search.cards import card, cards
from pipeline.search.files import SearchFiles
from pipeline.search.thumbnails import Thumbnail
from pipeline.search.video_rows import VideoRow
from pipeline.storage.location import Location
from sta.text import displayed

_LINES = 20
_NAME_WIDTH = 40
_RULES: dict[Reason, str] = {
    "uncertain": "uncertain",
    "far": "far from the others",
    "cluster": "from clusters",
}
_LEGEND = {
    "uncertain": "the difference of the two highest probabilities, which is small",
    "far": "the largest cosine with a video that is labeled or stands above, which is small",
    "cluster": "its number and size; the video lies in its middle, and few of it are labeled",
    "predicted": "the most probable class, and its probability",
}
_HEAD = "head.safetensors"


@dataclass(frozen=True)
class Suggestion:
    """A video to label.

    Attributes:
        video: the video.
        pick: why it was chosen.
        prediction: its label so far.
        any_labeled: whether any video has a label.
    """

    video: VideoRow
    pick: Pick
    prediction: Prediction
    any_labeled: bool

    @property
    def reason(self) -> str:
        """Such as `uncertain 0.12`, `far from all labeled (0.41)`, `cluster 7 (312 videos)`."""
        pick = self.pick
        if pick.reason == "uncertain":
            return f"uncertain {pick.value:.2f}"
        if pick.reason == "far":
            others = "all labeled" if self.any_labeled else "those above"
            return f"far from {others} ({pick.value:.2f})"
        return f"cluster {pick.cluster} ({counted(int(pick.value), 'videos')})"


@dataclass(frozen=True)
class Suggested:
    """What to label next.

    Attributes:
        suggestions: the first to label first.
        candidates: number of videos that were chosen among.
        available: number of videos without a label of the user's.
        labeled: number of videos with one.
    """

    suggestions: tuple[Suggestion, ...]
    candidates: int
    available: int
    labeled: int


def suggest_page(found: Suggested, thumbnails: Mapping[str, Thumbnail], run: str) -> str:
    """The page.

    Args:
        found: what to label.
        thumbnails: frames by video id.
        run: address of the run.
    """
    clusters = {each.pick.cluster for each in found.suggestions}
    tiles = [
        Tile(f"{len(found.suggestions):,}", "videos to label"),
        Tile(f"{found.labeled:,}", "labeled so far"),
        Tile(f"{found.candidates:,}", "chosen among", f"of {found.available:,} without a label"),
        Tile(f"{len(clusters):,}", "clusters", "that they are from"),
    ]
    made = [
        card(
            replace(each.video, label=each.prediction.label, score=each.prediction.score),
            thumbnails[each.video.video_id],
            each.reason,
        )
        for each in found.suggestions
    ]
    return report_page(
        "Videos to label next",
        [
            Section([Tiles(tiles)]),
            Section([cards(made)], title="In this order"),
            Section([Facts(_facts(run))], title="How they were chosen", folded=True),
        ],
        lead=["Under each frame: why the video was chosen, its name, and its predicted label."],
    )


def suggest_screen(found: Suggested, files: SearchFiles, labels: Location, run: Location) -> str:
    """The videos, the files, and what to do with them, as text.

    Args:
        found: what to label.
        files: the page and the table.
        labels: the list to fill in.
        run: OUTPUT.
    """
    rules = Counter(each.pick.reason for each in found.suggestions)
    mix = ", ".join(f"{rules[rule]:,} {name}" for rule, name in _RULES.items() if rules[rule])
    first = found.suggestions[:_LINES]
    shown = short_names([each.video.video_id for each in first], _NAME_WIDTH)
    rows = [("", "video", "why", "predicted")]
    rows += [
        (str(rank), name, each.reason, f"{each.prediction.label} ({each.prediction.score:.0%})")
        for rank, (name, each) in enumerate(zip(shown, first, strict=True), start=1)
    ]
    lines = [
        f"{counted(len(found.suggestions), 'videos')} to label of {found.available:,} without a "
        f"label: {mix}",
        "",
        *text_table(rows, left=(1, 2, 3)),
    ]
    if len(found.suggestions) > _LINES:
        lines.append(f"and {len(found.suggestions) - _LINES:,} more")
    lines += ["", *(f"{name}: {said}" for name, said in _LEGEND.items())]
    train = arguments(short_path(run.uri), short_path(labels.uri), flags=["-o", _HEAD])
    return "\n".join(
        [
            *lines,
            "",
            f"Page:    {files.page.uri}",
            f"Labels:  {labels.uri} (fill in the column label)",
            f"Tools:   {files.folder.uri}/label_studio, {files.folder.uri}/fiftyone",
            *next_lines(
                {
                    "Train a head, once the column label is filled in:": [
                        *job_words("train_head"),
                        *train,
                    ]
                }
            ),
        ]
    )


def _facts(run: str) -> list[tuple[str, str]]:
    return [
        ("run", displayed(run)),
        *_LEGEND.items(),
        ("mix", "every second video is an uncertain one"),
    ]
