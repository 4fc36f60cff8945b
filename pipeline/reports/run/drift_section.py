"""Drift on the page of a run, and on the screen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from pipeline.formatting import clock, counted, digits
from pipeline.reports.html.report import Block, Bullets, Table, Text, Tile, Tiles
from pipeline.reports.run.tiles import interval, percent
from sta.text import displayed

Content = Mapping[str, Any]

# Classes and notes in the summary on the screen.
_NAMED = 4


def drift_blocks(drift: Content | None) -> list[Block]:
    """Blocks of the section; none without a reference."""
    if drift is None:
        return []
    reference = Markup("Reference run: <code>{}</code>.").format(displayed(drift["reference"]))
    if drift["problem"]:
        text = Markup("{} It could not be compared: {}.").format(
            reference, displayed(drift["problem"].rstrip("."))
        )
        return [Text(text)]
    blocks: list[Block] = [Text(reference)]
    if drift["notes"]:
        blocks += [
            Text("What differs besides the videos, and may be all or part of the drift:"),
            Bullets([displayed(note) for note in drift["notes"]]),
        ]
    if tiles := _tiles(drift):
        blocks.append(Tiles(tiles))
    return [*blocks, *_labels(drift), *_embeddings(drift)]


def _tiles(drift: Content) -> list[Tile]:
    population, unseen, labels = drift["population"], drift["unseen"], drift["labels"]
    tiles = []
    if population:
        about = (
            f"{interval(population)} of {population['held_out']:,} held-out videos; 50 %: no shift"
        )
        tiles.append(Tile(percent(population), "told apart by embeddings", about))
    if unseen:
        about = f"{interval(unseen)} of {unseen['count']:,} sampled videos; 5 %: no shift"
        tiles.append(Tile(percent(unseen), "unlike the reference", about))
    if labels:
        if labels["distance"]["share"] is not None:
            about = f"{interval(labels['distance'])}, total variation distance; 0 %: no shift"
            tiles.append(Tile(percent(labels["distance"]), "labels that moved", about))
        changed = labels["changed"]
        about = "beyond chance among all classes"
        tiles.append(
            Tile(f"{changed:,}", "class changed" if changed == 1 else "classes changed", about)
        )
    return tiles


def _labels(drift: Content) -> list[Block]:
    if drift["labels_problem"]:
        return [Text(f"Labels were not compared: {displayed(drift['labels_problem'])}.")]
    labels = drift["labels"]
    if not labels:
        return []
    changed, shown = labels["changed"], labels["classes"]
    compared = (
        f"{counted(labels['today'], 'videos')} of this run and {labels['reference']:,} of the "
        f"reference were compared. "
    )
    about = compared + (
        f"{changed:,} {'share is' if changed == 1 else 'shares are'} different by more than chance "
        f"(Fisher's exact test at 5 %, adjusted by Holm for all classes)"
        f"{f'; the {len(shown)} largest differences' if len(shown) < changed else ''}. "
        f"Intervals: 95 %, each for its class alone."
        if changed
        else "No share is different by more than chance (Fisher's exact test at 5 %, adjusted by "
        "Holm for all classes). The largest differences, each with its own 95 % interval:"
    )
    rows = [
        (
            displayed(each["label"]),
            each["change"] or "not certain",
            f"{100 * each['reference']:.2f} %",
            f"{100 * each['today']:.2f} %",
            f"{100 * each['difference']:+.2f} ({100 * each['low']:+.2f} to "
            f"{100 * each['high']:+.2f})",
        )
        for each in shown
    ]
    columns = ("label", "change", "reference", "this run", "difference, points")
    return [Table(columns, rows, title="Classes that grew or vanished", about=about, numbers=True)]


def _embeddings(drift: Content) -> list[Block]:
    if drift["embeddings_problem"]:
        return [Text(f"Embeddings were not compared: {displayed(drift['embeddings_problem'])}.")]
    blocks: list[Block] = []
    if drift["population"]:
        blocks.append(Text(_population(drift["population"])))
    else:
        blocks.append(
            Text("Too few videos with embeddings for a population shift: 20 of each run or more.")
        )
    if drift["farthest"]:
        blocks.append(_farthest(drift))
    return blocks


def _population(population: Content) -> str:
    found = "the populations differ" if population["low"] > 0.5 else "no shift is certain"
    return (
        f"A linear classifier, fitted on one half of the sampled videos, tells the run of "
        f"{percent(population)} {interval(population)} of the other half by their embeddings; a "
        f"coin is right for 50 %: {found}. Videos count as independent."
    )


def _farthest(drift: Content) -> Table:
    yardstick, unseen = drift["yardstick"], drift["unseen"]
    about = (
        "Distance: 1 - cosine of the embedding to that of the nearest video in a sample of the "
        "reference."
    )
    if yardstick["usual"] is not None:
        about += (
            f" Of the reference's own videos, half are nearer than {digits(yardstick['usual'])}"
        )
        if yardstick["limit"] is not None:
            about += f", and 95 % nearer than {digits(yardstick['limit'])}"
        about += "."
    if unseen:
        about += (
            f" {percent(unseen)} of this run's are farther than that, "
            f"{100 * unseen['more_share']:+.1f} points "
            f"({100 * unseen['more_low']:+.1f} to {100 * unseen['more_high']:+.1f}) against the "
            f"reference's own."
        )
    rows = [
        (
            _name(each),
            digits(each["distance"]),
            displayed(each["label"]),
            _code(each["nearest"]),
            displayed(each["nearest_label"]),
        )
        for each in drift["farthest"]
    ]
    columns = ("video", "distance", "label", "nearest", "its label")
    return Table(columns, rows, title="Videos farthest from the reference", about=about)


def _name(unit: Content) -> Markup:
    """The video, and of a segment where it begins."""
    at = "" if unit["start_s"] is None else f" at {clock(unit['start_s'])}"
    return Markup("{}{}").format(_code(unit["video_id"]), at)


def _code(text: str) -> Markup:
    return Markup("<code>{}</code>").format(displayed(text))


def drift_line(drift: Content | None) -> str | None:
    """What the summary says of drift, in one line; None without a reference."""
    if drift is None:
        return None
    if drift["problem"]:
        return f"Drift:     not compared with {drift['reference']}: {drift['problem']}"
    said = [*_said_of_embeddings(drift), *_said_of_labels(drift)]
    if notes := drift["notes"]:
        settings = "1 setting differs" if len(notes) == 1 else f"{len(notes)} settings differ"
        said.append(f"{settings} besides the videos")
    return f"Drift:     against {drift['reference']}: {'; '.join(said)}"


def _said_of_embeddings(drift: Content) -> list[str]:
    population, unseen = drift["population"], drift["unseen"]
    said = []
    if population:
        said.append(
            f"embeddings tell the run of {percent(population)} {interval(population)} of "
            f"{population['held_out']:,} videos (50 %: no shift)"
        )
    elif drift["embeddings_problem"]:
        said.append(f"embeddings not compared, {drift['embeddings_problem']}")
    else:
        said.append("too few videos with embeddings for a population shift")
    if unseen:
        said.append(
            f"{percent(unseen)} {interval(unseen)} are unlike the reference (5 %: no shift)"
        )
    return said


def _said_of_labels(drift: Content) -> list[str]:
    labels = drift["labels"]
    if not labels:
        return [f"labels not compared, {drift['labels_problem']}"]
    said = []
    distance = labels["distance"]
    if distance["share"] is not None:
        said.append(f"{percent(distance)} {interval(distance)} of the labels moved")
    changed: Sequence[Content] = [each for each in labels["classes"] if each["change"]]
    named = ", ".join(f"{each['label']} {each['change']}" for each in changed[:_NAMED])
    more = f" and {labels['changed'] - _NAMED:,} more" if labels["changed"] > _NAMED else ""
    return [*said, f"{named}{more}" if named else "no class's share changed for certain"]
