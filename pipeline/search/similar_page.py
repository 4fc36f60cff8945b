"""The page and the screen of videos that are like one."""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.formatting import counted, short_names, text_table
from pipeline.reports.html.report import Facts, Section, Table, Text, Tile, Tiles, report_page
from pipeline.search.cards import card, cards, times
from pipeline.search.files import SearchFiles
from pipeline.search.similar import SimilarVideos
from pipeline.search.thumbnails import Thumbnail
from sta.text import displayed

_NAME_WIDTH = 48


def similar_page(found: SimilarVideos, thumbnails: Mapping[str, Thumbnail], run: str) -> str:
    """The page.

    Args:
        found: what was found.
        thumbnails: frames by video id.
        run: address of the run.
    """
    query = found.query
    nearest = f"{found.found[0].cosine:.3f}" if found.found else "none"
    tiles = [
        Tile(nearest, "cosine of the nearest"),
        Tile(f"{len(found.found):,}", "videos shown"),
        Tile(f"{found.searched:,}", f"{_kind(found)} searched", "of other videos"),
    ]
    own = query.video
    asked = card(own, thumbnails[own.video_id], "", view=query.view)
    near = [
        card(each.video, thumbnails[each.video.video_id], f"{each.cosine:.3f}", view=each.view)
        for each in found.found
    ]
    rows = [
        (
            displayed(each.video.video_id),
            f"{each.cosine:.4f}",
            "" if each.view is None else times(each.view),
            displayed(each.video.uri),
        )
        for each in found.found
    ]
    return report_page(
        "Videos like one of the archive",
        [
            Section([Tiles(tiles)]),
            Section([cards([asked])], title="Searched for"),
            Section(
                [cards(near)] if near else [Text("There is no other video.")],
                title="The most similar videos",
            ),
            Section(
                [Table(("video", "cosine", "time", "address"), rows)] if rows else [],
                title="As a table",
                folded=True,
            ),
            Section([Facts(_facts(found, run))], title="How they were found", folded=True),
        ],
        lead=_lead(found),
    )


def similar_screen(found: SimilarVideos, files: SearchFiles) -> str:
    """The videos, and the files, as text."""
    names = short_names([each.video.video_id for each in found.found], _NAME_WIDTH)
    rows = [("", "cosine", "video", "time", "label")]
    rows += [
        (
            str(rank),
            f"{each.cosine:.4f}",
            name,
            "" if each.view is None else times(each.view),
            each.video.label or "",
        )
        for rank, (name, each) in enumerate(zip(names, found.found, strict=True), start=1)
    ]
    lines = [*_lead(found), "", *text_table(rows, left=(2, 3, 4))]
    if found.unusable:
        lines += ["", _unusable(found)]
    return "\n".join([*lines, "", f"Page:   {files.page.uri}", f"Table:  {files.table.uri}"])


def _lead(found: SimilarVideos) -> list[str]:
    query = found.query
    name = displayed(query.video.video_id)
    if query.view is None:
        return [f"Videos whose mean embeddings are most like that of {name}."]
    lead = (
        f"Videos with a view like that of {name} at {times(query.view)} (clip {query.view.clip}, "
        f"crop {query.view.crop}), each by its nearest view."
    )
    if not query.is_beside:
        return [lead]
    return [lead, f"No view was made at {query.time_s:.10g} s; this one is the nearest to it."]


def _kind(found: SimilarVideos) -> str:
    return "videos" if found.query.view is None else "views"


def _unusable(found: SimilarVideos) -> str:
    shown = counted(found.unusable, _kind(found))
    return f"{shown} left out: embeddings that are all zero or not finite."


def _facts(found: SimilarVideos, run: str) -> list[tuple[str, str]]:
    exact = f"all {counted(found.searched, _kind(found))} of other videos, compared exactly"
    facts = [
        ("run", displayed(run)),
        ("video", displayed(found.query.video.uri)),
        ("measure", "cosine of stored embeddings, those of the pruned model"),
        ("searched", f"an index, {displayed(found.index)}" if found.index else exact),
    ]
    return facts + ([("left out", _unusable(found))] if found.unusable else [])
