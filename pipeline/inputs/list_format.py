"""What a list of videos is written like, from its first lines: its delimiter, header and columns.

Lists come from spreadsheets, pandas, Spark, Hugging Face's datasets and from the annotation files
of VideoMAE, mmaction2 and PySlowFast. What is read is read whole, and what is another format is
refused by its name: half a list looks like a small one.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from pipeline.inputs.video_names import VIDEO_EXTENSIONS, extension_of

# What else a column is called. A column of the name itself goes before all others; names are
# compared without case, blanks, underscores and hyphens.
COLUMN_NAMES: dict[str, tuple[str, ...]] = {
    "uri": (
        "path", "file", "filename", "filepath", "url", "video", "videopath", "videofile",
        "videoname", "clippath",
    ),
    "label": ("class", "classname", "classid", "labelname", "labelid", "category", "action"),
    "video_id": (),
    "size_bytes": (),
    "etag": (),
}  # fmt: skip

_FOLDED = {ours: frozenset({ours.replace("_", ""), *all}) for ours, all in COLUMN_NAMES.items()}
_ALL_FOLDED = frozenset().union(*_FOLDED.values())
_DELIMITERS = {"\t": "tabs", ",": "commas", ";": "semicolons", " ": "blanks"}
_SHOWN = 120

_EXTENSION = "|".join(map(re.escape, sorted(VIDEO_EXTENSIONS, key=len, reverse=True)))
_VIDEO_NAME = re.compile(rf"(?P<path>.*?(?:{_EXTENSION}))(?:\s+(?P<label>\S.*))?", re.IGNORECASE)
_PATH_AND_ID = re.compile(r"(?P<path>\S+)\s+(?P<label>-?\d+)")
_BLANKS_AFTER_QUOTE = re.compile(r'"[ \t]+(?=[,;]|\t|[\r\n]|$)')
_SECRET = re.compile(r"(?<=://)[^\s,;\"']*@|(?<=\?)[^\s,;\"']+")
_NUMBER = re.compile(r"-?\d+")
_HMDB_SPLIT = re.compile(r"_test_split\d\.txt$", re.IGNORECASE)

_KINETICS = (
    "Kinetics' official CSV, which names videos of YouTube and no files; write a list with the "
    "columns uri and label for the files that were fetched"
)
_FRAMES = (
    "an annotation list of frame folders (path, number of frames, label) or of several labels per "
    "video; write one `path label` in a line, with the path of a video file"
)
_KEYS: tuple[tuple[frozenset[str], str], ...] = (
    (frozenset({"youtube_id"}), _KINETICS),
    (frozenset({"template", "id"}), "Something-Something's JSON, which names ids and no files"),
    (frozenset({"annotations", "images"}), "COCO's JSON, which lists pictures"),
    (frozenset({"annotations", "videos"}), "COCO's JSON; write its videos as a list of their own"),
    (frozenset({"database"}), "ActivityNet's JSON, which names videos of the web and no files"),
    (frozenset({"labels", "annotations"}), "an annotation file of mmaction2's skeleton data"),
)


class NotAListError(ValueError):
    """A text that is no list of videos that can be read; the message says what it looks like."""


@dataclass(frozen=True)
class Columns:
    """Where the columns of a list stand.

    Attributes:
        names: our names to theirs, as far as they are there.
        unread: their other columns.
    """

    names: dict[str, str]
    unread: tuple[str, ...] = ()

    def of(self, row: dict[str, Any]) -> dict[str, Any]:
        """A row under our names."""
        return {ours: row.get(theirs) for ours, theirs in self.names.items()}


@dataclass(frozen=True)
class TextFormat:
    """How the lines of a text list are read.

    Attributes:
        delimiter: between cells; "" where each line is a path alone.
        header: names of the columns as the first line gives them; None without a header: then a
            line is a path and, with a delimiter, a label.
        columns: where our columns stand, with a header.
    """

    delimiter: str
    header: tuple[str, ...] | None = None
    columns: Columns | None = None

    def rows(self, lines: Iterable[str]) -> Iterator[tuple[int, dict[str, Any]]]:
        """(line number, row under our names) of each line that is not empty; blanks around cells
        are no part of them.

        Args:
            lines: all lines of the list.

        Raises:
            csv.Error: a quoted cell does not end.
            NotAListError: a line is not written like the first ones; the message names the line.
        """
        if self.header is None:
            yield from self._without_header(lines)
            return
        assert self.columns is not None
        for number, cells in islice(_csv_cells(lines, self.delimiter), 1, None):
            if len(cells) > len(self.header):
                raise NotAListError(
                    f"line {number} has {len(cells)} cells and the header names "
                    f"{len(self.header)}, by {_DELIMITERS[self.delimiter]}; a cell that holds the "
                    f"delimiter is put in quotes; the line is {_shown_cells(cells, self.delimiter)}"
                )
            yield number, self.columns.of(dict(zip(self.header, cells, strict=False)))

    def _without_header(self, lines: Iterable[str]) -> Iterator[tuple[int, dict[str, Any]]]:
        found: Iterable[tuple[int, list[str]]]
        if self.delimiter in ("", " "):
            stripped = ((number, line.strip()) for number, line in enumerate(lines, start=1))
            found = ((number, self.split(line)) for number, line in stripped if line)
        else:
            found = _csv_cells(lines, self.delimiter)
        for number, cells in found:
            if not self.fits(cells):
                raise NotAListError(
                    f"line {number} is no {self.line} as the first one is; it is "
                    f"{_shown_cells(cells, self.delimiter)}"
                )
            yield number, dict(zip(("uri", "label"), cells, strict=False))

    @property
    def line(self) -> str:
        """What a line without a header is."""
        return "path and label" if self.delimiter else "path of a video"

    def split(self, line: str) -> list[str]:
        """The cells of one line of a list without a header."""
        if self.delimiter == "":
            return [_unquoted(line)]
        return _by_blanks(line) if self.delimiter == " " else _split(line, self.delimiter)

    def fits(self, cells: Sequence[str]) -> bool:
        """Whether these are the cells of a line without a header."""
        if len(cells) == 1:
            return _is_path(cells[0])
        return self.delimiter != "" and _is_path_and_label(cells)


# What a list without a header may be, in the order in which it is tried.
_WITHOUT_HEADER = tuple(TextFormat(delimiter) for delimiter in ("\t", ",", ";", "", " "))


def text_format(name: str, lines: Sequence[str]) -> TextFormat:
    """How a text list is written.

    Args:
        name: the file's name.
        lines: its first lines, whole ones, of which one at least is not empty.

    Raises:
        NotAListError: it is another format, which the message names with the first line.
    """
    filled = [line.strip() for line in lines if line.strip()]
    try:
        with_header = _with_header(filled[0])
        if with_header is not None:
            return with_header
        _refuse_known(name, filled)
    except NotAListError as error:
        raise NotAListError(f"{error}; its first line is {shown(filled[0])}") from None
    fitting = [each for each in _WITHOUT_HEADER if each.fits(each.split(filled[0]))]
    # The first line alone may be read in several ways.
    for each in fitting:
        cells = [each.split(line) for line in filled]
        if all(map(each.fits, cells)) and (not each.delimiter or any(len(c) > 1 for c in cells)):
            return each
    if fitting:
        return fitting[0]
    raise NotAListError(
        f"its first line names no column uri (or path, file_name, url, ...) and is no `path label` "
        f"of a video; it is {shown(filled[0])}"
    )


def columns_of(names: Sequence[str]) -> Columns:
    """Which of a list's columns are ours.

    Raises:
        NotAListError: none of them, or two of them, can be the address or the label.
    """
    found: dict[str, str] = {}
    for ours in COLUMN_NAMES:
        exact = [name for name in names if name.strip().lower() == ours]
        folded = [name for name in names if _folded(name) in _FOLDED[ours]]
        candidates = exact or folded
        if len(candidates) > 1:
            raise NotAListError(
                f"it has {len(candidates)} columns that may be the {ours}: "
                f"{', '.join(candidates)}; call one of them {ours}"
            )
        if candidates:
            found[ours] = candidates[0]
    if "uri" not in found:
        known = next((words for keys, words in _KEYS if keys <= set(map(_key, names))), None)
        if known is not None:
            raise NotAListError(f"it looks like {known}")
        raise NotAListError(
            f"it has no column uri (or path, file_name, url, ...); it has "
            f"{', '.join(map(str, names)) or 'none'}"
        )
    return Columns(found, tuple(name for name in names if name and name not in found.values()))


def shown(line: str) -> str:
    """A line for a message: without the credentials of an address, and cut where it is long."""
    text = _SECRET.sub("…", " ".join(line.split()))
    return repr(text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…")


def json_kind(loaded: Any) -> str:
    """What a JSON object is that is no list of videos, in words."""
    keys = list(map(_key, loaded)) if isinstance(loaded, dict) else []
    known = next((words for wanted, words in _KEYS if wanted <= set(keys)), None)
    named = f" with {', '.join(keys[:8])}" if keys else ""
    return known or f"one JSON object{named}; write a list of objects, each with a uri"


def _shown_cells(cells: Sequence[str], delimiter: str) -> str:
    return shown((delimiter or " ").join(cells))


def _key(name: Any) -> str:
    return str(name).strip().lower()


def _folded(name: str) -> str:
    return re.sub(r"[\s_-]+", "", str(name)).lower()


def _with_header(first: str) -> TextFormat | None:
    """The format of a list whose first line names a column of addresses."""
    for delimiter in _DELIMITERS:
        names = _split(first, delimiter)
        if not any(_folded(name) in _FOLDED["uri"] for name in names):
            continue
        # Words of a sentence and parts of a path are names too where blanks part them.
        if delimiter == " " and not all(_folded(name) in _ALL_FOLDED for name in names):
            continue
        twice = [name for name in names if name and names.count(name) > 1]
        if twice:
            raise NotAListError(f"its header names {twice[0]!r} twice")
        return TextFormat(delimiter, tuple(names), columns_of([name for name in names if name]))
    return None


def _refuse_known(name: str, lines: Sequence[str]) -> None:
    if _HMDB_SPLIT.search(name):
        raise NotAListError(
            "one of HMDB51's split files, whose numbers say train or test and no class; write a "
            "list of `path label`"
        )
    for delimiter in _DELIMITERS:
        names = set(map(_key, _split(lines[0], delimiter)))
        known = next((words for keys, words in _KEYS if keys <= names), None)
        if known is not None:
            raise NotAListError(f"this looks like {known}")
    if all(_is_frames(line) for line in lines):
        raise NotAListError(f"this looks like {_FRAMES}")


def _is_frames(line: str) -> bool:
    """`path number number`, and not the name of a video with blanks in it."""
    for delimiter in _DELIMITERS:
        cells = _split(line, delimiter)
        if len(cells) == 3 and all(_NUMBER.fullmatch(cell) for cell in cells[1:]):
            return not _NUMBER.fullmatch(cells[0])
    return False


def _csv_cells(lines: Iterable[str], delimiter: str) -> Iterator[tuple[int, list[str]]]:
    # What is quoted to no end would take all lines after it for one cell, unless that is an error;
    # but then blanks between a closing quote and the delimiter are one too.
    tidy = (_BLANKS_AFTER_QUOTE.sub('"', line) if '"' in line else line for line in lines)
    rows = csv.reader(tidy, delimiter=delimiter, skipinitialspace=True, strict=True)
    for row in rows:
        cells = [cell.strip() for cell in row]
        if any(cells):
            yield rows.line_num, _without_empty_end(cells)


def _split(line: str, delimiter: str) -> list[str]:
    try:
        cells = next(csv.reader([line], delimiter=delimiter, skipinitialspace=True), [])
    except csv.Error:
        return []
    return _without_empty_end([cell.strip() for cell in cells])


def _by_blanks(line: str) -> list[str]:
    """Path and label of a line; blanks in a path are its own where it ends as a video's name."""
    if line.startswith('"'):
        return _split(line, " ")
    found = _VIDEO_NAME.fullmatch(line) or _PATH_AND_ID.fullmatch(line)
    if found is None:
        return _split(line, " ")
    return [found["path"], _unquoted(found["label"])] if found["label"] else [found["path"]]


def _is_path_and_label(cells: Sequence[str]) -> bool:
    if len(cells) != 2 or extension_of(cells[1]) in VIDEO_EXTENSIONS:
        return False
    path, label = cells
    if extension_of(path) not in VIDEO_EXTENSIONS:
        return "/" in path and _NUMBER.fullmatch(label) is not None
    several = label.split()
    return len(several) == 1 or not all(map(_NUMBER.fullmatch, several))


def _is_path(text: str) -> bool:
    return extension_of(text) in VIDEO_EXTENSIONS or (
        "://" in text and not any(map(str.isspace, text))
    )


def _unquoted(text: str) -> str:
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] == '"' else text


def _without_empty_end(cells: list[str]) -> list[str]:
    """Spreadsheets end lines with the delimiters of columns that are empty throughout."""
    while cells and not cells[-1]:
        cells.pop()
    return cells
