"""Detects the format of a text list from its first lines: delimiter, header and columns.

Lists come from spreadsheets, pandas, Spark, Hugging Face's datasets and from the annotation files
of VideoMAE, mmaction2 and PySlowFast. Every line must fit the format, and other known formats are
refused by name: a list that is read in part would look like a small one.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from pipeline.inputs.video_names import VIDEO_EXTENSIONS, extension_of
from sta.text import redacted

# Other names of each column. A column of the exact name has priority; names are compared without
# case, blanks, underscores and hyphens.
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
_NUMBER = re.compile(r"-?\d+")
_HMDB_SPLIT = re.compile(r"_test_split\d\.txt$", re.IGNORECASE)

_KINETICS = (
    "Kinetics' official CSV, which names YouTube videos instead of files; write a list with the "
    "columns uri and label for the downloaded files"
)
_FRAMES = (
    "an annotation list of frame folders (path, number of frames, label) or of several labels per "
    "video; write one `path label` per line, with the path of a video file"
)
_KEYS: tuple[tuple[frozenset[str], str], ...] = (
    (frozenset({"youtube_id"}), _KINETICS),
    (frozenset({"template", "id"}), "Something-Something's JSON, which names ids instead of files"),
    (frozenset({"annotations", "images"}), "COCO's JSON, which lists images"),
    (frozenset({"annotations", "videos"}), "COCO's JSON; write its videos as a separate list"),
    (frozenset({"database"}), "ActivityNet's JSON, which names web videos instead of files"),
    (frozenset({"labels", "annotations"}), "an annotation file of mmaction2's skeleton data"),
)


class NotAListError(ValueError):
    """A file cannot be read as a list of videos; the message describes its content."""


@dataclass(frozen=True)
class Columns:
    """The columns of a list.

    Attributes:
        names: for each name of COLUMN_NAMES that the list has, its name in the list.
        unread: the list's other columns.
    """

    names: dict[str, str]
    unread: tuple[str, ...] = ()

    def of(self, row: dict[str, Any]) -> dict[str, Any]:
        """A row with the names of COLUMN_NAMES."""
        return {ours: row.get(theirs) for ours, theirs in self.names.items()}


@dataclass(frozen=True)
class TextFormat:
    """The format of a text list.

    Attributes:
        delimiter: character between cells; "" if each line is only a path.
        header: names of the columns in the first line; None without a header. A line is then a path
            and, with a delimiter, a label.
        columns: the columns; None without a header.
    """

    delimiter: str
    header: tuple[str, ...] | None = None
    columns: Columns | None = None

    def rows(self, lines: Iterable[str]) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yields (line number, row) of each line that is not empty; cells are stripped of blanks.

        Args:
            lines: all lines of the list.

        Raises:
            csv.Error: a quoted cell has no closing quote.
            NotAListError: a line differs in format from the first ones; the message names it.
        """
        if self.header is None:
            yield from self._without_header(lines)
            return
        assert self.columns is not None
        for number, cells in islice(_csv_cells(lines, self.delimiter), 1, None):
            if len(cells) > len(self.header):
                raise NotAListError(
                    f"line {number} has {len(cells)} cells and the header names "
                    f"{len(self.header)}, by {_DELIMITERS[self.delimiter]}; quote cells that "
                    f"contain the delimiter; the line is {_shown_cells(cells, self.delimiter)}"
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
                    f"line {number} is not a {self.line} like the first line; it is "
                    f"{_shown_cells(cells, self.delimiter)}"
                )
            yield number, dict(zip(("uri", "label"), cells, strict=False))

    @property
    def line(self) -> str:
        """What each line of a list without a header is, in words."""
        return "path and label" if self.delimiter else "path of a video"

    def split(self, line: str) -> list[str]:
        """The cells of one line of a list without a header."""
        if self.delimiter == "":
            return [_unquoted(line)]
        return _by_blanks(line) if self.delimiter == " " else _split(line, self.delimiter)

    def fits(self, cells: Sequence[str]) -> bool:
        """Whether cells are a line of a list without a header."""
        if len(cells) == 1:
            return _is_path(cells[0])
        return self.delimiter != "" and _is_path_and_label(cells)


# Formats of a list without a header, in the order in which they are tried.
_WITHOUT_HEADER = tuple(TextFormat(delimiter) for delimiter in ("\t", ",", ";", "", " "))


def text_format(name: str, lines: Sequence[str]) -> TextFormat:
    """Detects the format of a text list.

    Args:
        name: the file's name.
        lines: its first lines, whole ones; at least one is not empty.

    Raises:
        NotAListError: the format is another one; the message names it and shows the first line.
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
    # The first line alone may fit several formats.
    for each in fitting:
        cells = [each.split(line) for line in filled]
        if all(map(each.fits, cells)) and (not each.delimiter or any(len(c) > 1 for c in cells)):
            return each
    if fitting:
        return fitting[0]
    raise NotAListError(
        f"its first line names no column uri (or path, file_name, url, ...) and is not a "
        f"`path label` of a video; it is {shown(filled[0])}"
    )


def columns_of(names: Sequence[str]) -> Columns:
    """Finds the columns of COLUMN_NAMES among a list's columns.

    Raises:
        NotAListError: there is no uri, or two columns have the meaning of one name.
    """
    found: dict[str, str] = {}
    for ours in COLUMN_NAMES:
        exact = [name for name in names if name.strip().lower() == ours]
        folded = [name for name in names if _folded(name) in _FOLDED[ours]]
        candidates = exact or folded
        if len(candidates) > 1:
            raise NotAListError(
                f"it has {len(candidates)} columns that may be the {ours}: "
                f"{', '.join(candidates)}; rename one of them to {ours}"
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
    """A line for a message: shortened, without keys and signatures."""
    text = redacted(" ".join(line.split()))
    return repr(text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…")


def json_kind(loaded: Any) -> str:
    """Describes a JSON object that is not a list of videos."""
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
    """The format of a list whose first line is a header; None if it is not."""
    for delimiter in _DELIMITERS:
        names = _split(first, delimiter)
        if not any(_folded(name) in _FOLDED["uri"] for name in names):
            continue
        # Separated by blanks, words of a sentence and parts of a path look like names too.
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
            "one of HMDB51's split files, whose numbers mean train or test instead of a class; "
            "write a list of `path label`"
        )
    for delimiter in _DELIMITERS:
        names = set(map(_key, _split(lines[0], delimiter)))
        known = next((words for keys, words in _KEYS if keys <= names), None)
        if known is not None:
            raise NotAListError(f"this looks like {known}")
    if all(_is_frames(line) for line in lines):
        raise NotAListError(f"this looks like {_FRAMES}")


def _is_frames(line: str) -> bool:
    """Whether a line is `path number number` and not the name of a video with blanks."""
    for delimiter in _DELIMITERS:
        cells = _split(line, delimiter)
        if len(cells) == 3 and all(_NUMBER.fullmatch(cell) for cell in cells[1:]):
            return not _NUMBER.fullmatch(cells[0])
    return False


def _csv_cells(lines: Iterable[str], delimiter: str) -> Iterator[tuple[int, list[str]]]:
    # `strict` makes a missing closing quote an error; otherwise all remaining lines would be one
    # cell. It also refuses blanks between a closing quote and the delimiter, so these are removed.
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
    """Path and label of a line; a path that ends with a video's extension may contain blanks."""
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
    """Without empty cells at the end, which spreadsheets write for empty columns."""
    while cells and not cells[-1]:
        cells.pop()
    return cells
