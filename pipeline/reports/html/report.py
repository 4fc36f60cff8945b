"""Builds report pages: sections of tiles, tables, plots and text, all with one look.

A report is a list of `Section`, each of which holds blocks. Every string is escaped; `Markup` is
taken as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from markupsafe import Markup

from pipeline.reports.html.render import render


@dataclass(frozen=True)
class Tile:
    """A figure in large type, what it is, and a note in small type."""

    figure: str
    name: str
    note: str = ""


@dataclass(frozen=True)
class Tiles:
    """Tiles side by side."""

    kind: ClassVar = "tiles"
    tiles: Sequence[Tile]


@dataclass(frozen=True)
class Text:
    """A paragraph; `soft` for a remark in small type."""

    kind: ClassVar = "text"
    text: str | Markup
    soft: bool = False


@dataclass(frozen=True)
class Heading:
    """A heading within a section."""

    kind: ClassVar = "heading"
    text: str


@dataclass(frozen=True)
class Bullets:
    """A list of sentences."""

    kind: ClassVar = "bullets"
    items: Sequence[str | Markup]


@dataclass(frozen=True)
class Facts:
    """Names with their values."""

    kind: ClassVar = "facts"
    facts: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Code:
    """Lines to copy, such as a command; folded under `title` if there is one."""

    kind: ClassVar = "code"
    text: str
    title: str = ""


@dataclass(frozen=True)
class Table:
    """A table; on a phone, each row of a wide table (4 columns, 3 of text) becomes a list.

    Attributes:
        columns: headings.
        rows: as many cells each; the first names the row.
        title: what it is of.
        about: what a reader must know before it.
        numbers: whether all columns but the first hold numbers.
    """

    kind: ClassVar = "table"
    columns: Sequence[str]
    rows: Sequence[Sequence[str | Markup]]
    title: str = ""
    about: str = ""
    numbers: bool = False


@dataclass(frozen=True)
class Plot:
    """A plot and its caption."""

    svg: Markup
    caption: str


@dataclass(frozen=True)
class Plots:
    """Plots side by side; `width` is the least of one, in rem."""

    kind: ClassVar = "plots"
    plots: Sequence[Plot]
    width: int = 22


@dataclass(frozen=True)
class Elements:
    """Ready HTML elements side by side; `width` is the least of one, in rem."""

    kind: ClassVar = "elements"
    elements: Sequence[Markup]
    width: int = 20


Block = Tiles | Text | Heading | Bullets | Facts | Code | Table | Plots | Elements


@dataclass(frozen=True)
class Section:
    """A part of a page.

    Attributes:
        blocks: what it holds.
        title: heading.
        warning: whether it is an alert.
        folded: whether it shows only its title until it is clicked.
    """

    blocks: Sequence[Block]
    title: str = ""
    warning: bool = False
    folded: bool = False


def report_page(title: str, sections: Sequence[Section], *, lead: Sequence[str] = ()) -> str:
    """The page, whole; sections without blocks are left out.

    Args:
        title: of the page.
        sections: in their order; tiles first, configuration folded at the end.
        lead: paragraphs under the title.
    """
    shown = [section for section in sections if section.blocks]
    return render("reports/html/report.html.j2", title=title, lead=lead, sections=shown)
