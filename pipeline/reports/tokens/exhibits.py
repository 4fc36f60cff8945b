"""A gallery for a run's report: a few videos as the model saw them, stage by stage."""

from __future__ import annotations

import base64
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from markupsafe import Markup

from pipeline.errors import UsageError
from pipeline.reports.html.render import render
from pipeline.reports.tokens.answers import from_shadow, pruned_answer
from pipeline.reports.tokens.decoding import ViewDecoder, look
from pipeline.reports.tokens.looks import Look
from pipeline.reports.tokens.lookup import Found, RunFacts, find
from pipeline.reports.tokens.pictures import jpeg, sheet
from pipeline.reports.tokens.selection import chosen
from pipeline.run.run_directory import RunDirectory

_COLUMNS = 4
TILE = 112
# Four by four pictures of this size stay below 150 KB in base64 even where they are noise.
QUALITY = 60


@dataclass(frozen=True)
class Exhibit:
    """One video of a gallery.

    Attributes:
        video_id: the video.
        html: a <figure> for a page that extends page/base.html.j2, with its picture inside and no
            links; or why there is none.
    """

    video_id: str
    html: Markup


def gallery(run: RunDirectory, count: int) -> list[Exhibit]:
    """Up to `count` videos of a finished run, chosen by `pipeline.reports.tokens.selection.chosen`.

    Of each the middle crop of its first clip, at four times, as it is and after each stage. A
    video that cannot be shown costs its picture: its exhibit says why.

    Raises:
        UsageError: there is no finished run here.
    """
    facts = RunFacts.of(run)
    videos = chosen(run, count)
    if not videos:
        return []
    try:
        decoder = ViewDecoder(facts)
    except (RuntimeError, OSError) as error:
        return [_without_picture(video, error) for video in videos]
    with closing(decoder):
        return [_exhibit(facts, decoder, video) for video in videos]


def _exhibit(facts: RunFacts, decoder: ViewDecoder, video_id: str) -> Exhibit:
    try:
        found = find(facts, video_id)
        return Exhibit(video_id, _figure(found, look(found, decoder.decode(found))))
    except (UsageError, OSError, RuntimeError, pa.ArrowException) as error:
        return _without_picture(video_id, error)


def _figure(found: Found, view: Look) -> Markup:
    columns = min(_COLUMNS, view.slots)
    slots = [place * (view.slots - 1) // max(1, columns - 1) for place in range(columns)]
    picture = sheet(view, tile=min(TILE, view.frames.shape[1]), slots=slots)
    answer, shadow = pruned_answer(found), from_shadow(found)
    top = answer.video or answer.view
    assert top
    return _rendered(
        video_id=view.video_id,
        picture="data:image/jpeg;base64," + base64.b64encode(jpeg(picture, QUALITY)).decode(),
        width=picture.shape[1],
        height=picture.shape[0],
        alt=f"{columns} frames of {view.video_id}, and below what each pruning stage kept of them",
        label=top[0][0],
        score=top[0][1],
        ground_truth=found.video["ground_truth"],
        is_class=found.video["ground_truth_id"] is not None,
        unpruned=None if shadow is None or shadow.answer is None else shadow.answer.label,
        stages=[f"{100 * stage.kept.mean():.0f}\N{NO-BREAK SPACE}%" for stage in view.stages],
        columns=columns,
        reason=None,
    )


def _without_picture(video_id: str, error: Exception) -> Exhibit:
    reason = " ".join(str(error).split())
    return Exhibit(video_id, _rendered(video_id=video_id, picture=None, reason=reason))


def _rendered(**context: Any) -> Markup:
    # The template escapes what it is given.
    return Markup(render("reports/tokens/exhibit.html.j2", **context))
