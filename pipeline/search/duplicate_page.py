"""The page and the screen of groups of near-duplicates."""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.formatting import counted, short_names, text_table
from pipeline.reports.html.report import Facts, Section, Text, Tile, Tiles, report_page
from pipeline.search.cards import card, cards
from pipeline.search.duplicates import DuplicateGroups
from pipeline.search.files import SearchFiles
from pipeline.search.thumbnails import Thumbnail
from sta.text import displayed

_GROUPS, _PER_GROUP = 100, 24
_LINES, _NAMES = 20, 3
_NAME_WIDTH = 36
_COSINE = "the largest between two videos of the group, each the mean of its views"
# Duplicates that the average video has by random pairs; above it the threshold says little.
_COMMON = 1


def duplicate_page(
    found: DuplicateGroups, thumbnails: Mapping[str, Thumbnail], run: str, table: str
) -> str:
    """The page.

    Args:
        found: the groups.
        thumbnails: frames by video id.
        run: address of the run.
        table: address of the table with all groups.
    """
    tiles = [
        Tile(f"{len(found.groups):,}", "groups"),
        Tile(f"{found.members:,}", "videos in groups", f"of {found.searched:,}"),
        Tile(f"{found.members - len(found.groups):,}", "could be left out", "all but one of each"),
    ]
    sections = [Section([Tiles(tiles)])]
    if warnings := _warnings(found):
        sections.append(Section([Text(each) for each in warnings], title="Note", warning=True))
    for number, group in enumerate(found.groups[:_GROUPS], start=1):
        made = [
            card(each.video, thumbnails[each.video.video_id], f"{each.cosine:.3f}")
            for each in group[:_PER_GROUP]
        ]
        more = len(group) - len(made)
        sections.append(
            Section(
                [cards(made), *([Text(f"And {more:,} more.", soft=True)] if more else [])],
                title=f"Group {number:,}: {counted(len(group), 'videos')}",
            )
        )
    if len(found.groups) > _GROUPS:
        rest = f"{len(found.groups) - _GROUPS:,} smaller groups are in {displayed(table)}."
        sections.append(Section([Text(rest)]))
    if not found.groups:
        sections.append(Section([Text("No two videos are as similar.")]))
    sections.append(Section([Facts(_facts(found, run))], title="How they were found", folded=True))
    return report_page("Near-duplicate videos", sections, lead=[_lead(found)])


def duplicate_screen(found: DuplicateGroups, files: SearchFiles) -> str:
    """The groups, and the files, as text."""
    lines = [
        f"{counted(len(found.groups), 'groups')} of near-duplicates, {found.members:,} of "
        f"{counted(found.searched, 'videos')}, by a cosine of {found.threshold:g} or more"
    ]
    if found.groups:
        rows = [("group", "videos", "cosine", "")]
        for number, group in enumerate(found.groups[:_LINES], start=1):
            names = short_names([each.video.video_id for each in group[:_NAMES]], _NAME_WIDTH)
            more = ", ..." if len(group) > _NAMES else ""
            cosine = max(each.cosine for each in group)
            rows.append((str(number), str(len(group)), f"{cosine:.4f}", ", ".join(names) + more))
        lines += ["", *text_table(rows, left=(3,))]
        if len(found.groups) > _LINES:
            lines.append(f"and {counted(len(found.groups) - _LINES, 'groups')} more")
        lines += ["", f"cosine: {_COSINE}"]
    for warning in _warnings(found):
        lines += ["", warning]
    return "\n".join([*lines, "", f"Page:   {files.page.uri}", f"Table:  {files.table.uri}"])


def _lead(found: DuplicateGroups) -> str:
    return (
        f"Videos whose mean embeddings have a cosine of {found.threshold:g} or more with another "
        "one of their group. Under each frame stands its largest cosine."
    )


def _warnings(found: DuplicateGroups) -> list[str]:
    made = []
    if not found.complete:
        made.append(
            f"The search ended at {counted(found.pairs, 'pairs')}: there are more groups, and "
            "groups may be larger. Raise --duplicates."
        )
    if found.recall is not None:
        measured = found.recall.percent() if found.recall.count else "a share that is not known"
        made.append(
            f"Only videos in neighboring cells were compared, which finds {measured} of the pairs "
            "(measured on a random sample). --exact compares all."
        )
    above = None if found.background is None else found.background.above
    if above is not None and above.low * found.searched > _COMMON:
        made.append(
            f"{above.percent()} of random pairs of videos are as similar: this cosine says little "
            "of duplicates here. Raise --duplicates."
        )
    if found.unusable:
        made.append(
            f"{counted(found.unusable, 'videos')} left out: embeddings that are all zero or not "
            "finite."
        )
    return made


def _facts(found: DuplicateGroups, run: str) -> list[tuple[str, str]]:
    how = "all pairs" if found.recall is None else "videos in neighboring cells"
    facts = [
        ("run", displayed(run)),
        ("measure", "cosine of the mean embeddings of videos, those of the pruned model"),
        ("compared", f"{how} of {counted(found.searched, 'videos')}"),
        ("pairs", f"{found.pairs:,} (copies to the bit count once each)"),
        ("groups", "what chains of pairs connect: not all of a group need be a pair"),
    ]
    if found.background is not None:
        median, above = found.background.median, found.background.above.percent()
        facts.append(("random pairs", f"median cosine {median:.3f}; {above} reach the threshold"))
    return facts
