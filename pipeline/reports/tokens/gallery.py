"""Gallery of a run report: a few videos with the tokens that each pruning stage kept."""

from __future__ import annotations

import base64
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from markupsafe import Markup

from pipeline.errors import UsageError
from pipeline.reports.html.render import render
from pipeline.reports.tokens.decoding import ViewDecoder, view_tokens
from pipeline.reports.tokens.images import jpeg, sheet
from pipeline.reports.tokens.lookup import RunFacts, ViewRows, find
from pipeline.reports.tokens.predictions import from_shadow, pruned_prediction
from pipeline.reports.tokens.selection import chosen
from pipeline.reports.tokens.view import ViewTokens
from pipeline.run.run_directory import RunDirectory

_COLUMNS = 4
TILE = 112
# Four by four images of this size stay below 150 KB in base64 even where they are noise.
QUALITY = 60


@dataclass(frozen=True)
class GalleryItem:
    """One video of a gallery.

    Attributes:
        video_id: the video.
        html: a <figure> for a page that extends reports/html/base.html.j2, with its image inside
            and no links; or why there is none.
    """

    video_id: str
    html: Markup


def make_gallery(run: RunDirectory, count: int) -> list[GalleryItem]:
    """Up to `count` videos of a finished run, chosen by `pipeline.reports.tokens.selection.chosen`.

    Of each the middle crop of its first clip, at four times, as it is and after each stage. A
    video that cannot be shown has an item that says why.

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
        return [_without_image(video, error) for video in videos]
    with closing(decoder):
        return [_item(facts, decoder, video) for video in videos]


def _item(facts: RunFacts, decoder: ViewDecoder, video_id: str) -> GalleryItem:
    try:
        found = find(facts, video_id)
        return GalleryItem(video_id, _figure(found, view_tokens(found, decoder.decode(found))))
    except (UsageError, OSError, RuntimeError, pa.ArrowException) as error:
        return _without_image(video_id, error)


def _figure(found: ViewRows, view: ViewTokens) -> Markup:
    columns = min(_COLUMNS, view.slots)
    slots = [place * (view.slots - 1) // max(1, columns - 1) for place in range(columns)]
    image = sheet(view, tile=min(TILE, view.frames.shape[2]), slots=slots)
    prediction, shadow = pruned_prediction(found), from_shadow(found)
    top = prediction.video or prediction.view
    assert top
    return _rendered(
        video_id=view.video_id,
        image="data:image/jpeg;base64," + base64.b64encode(jpeg(image, QUALITY)).decode(),
        width=image.shape[1],
        height=image.shape[0],
        alt=f"{columns} frames of {view.video_id}, and below what each pruning stage kept of them",
        label=top[0][0],
        score=top[0][1],
        ground_truth=found.video["ground_truth"],
        is_class=found.video["ground_truth_id"] is not None,
        unpruned=None if shadow is None or shadow.prediction is None else shadow.prediction.label,
        stages=[f"{100 * stage.kept.mean():.0f}\N{NO-BREAK SPACE}%" for stage in view.stages],
        columns=columns,
        reason=None,
    )


def _without_image(video_id: str, error: Exception) -> GalleryItem:
    reason = " ".join(str(error).split())
    return GalleryItem(video_id, _rendered(video_id=video_id, image=None, reason=reason))


def _rendered(**context: Any) -> Markup:
    # The template escapes what it is given.
    return Markup(render("reports/tokens/gallery_item.html.j2", **context))
