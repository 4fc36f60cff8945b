"""Detects the format of a text list from its first lines: delimiter, header and columns.

Lists come from spreadsheets, pandas, Spark, Hugging Face's datasets and from the annotation files
of VideoMAE, mmaction2 and PySlowFast. Every line must fit the format, and other known formats are
refused by name: a list that is read in part would look like a small one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.inputs.delimited_rows import Cells, delimited_rows, split
from pipeline.inputs.list_columns import (
    FLAGS,
    Columns,
    are_all_known,
    columns_of,
    is_header,
    known_list,
    missing_column,
)
from pipeline.inputs.list_options import ListOptions
from pipeline.inputs.list_row import NotAListError, Row, bad_row, shown, why_not_utf8
from pipeline.inputs.video_names import LISTED_EXTENSIONS, extension_of

_DELIMITERS = {"\t": "tabs", ",": "commas", ";": "semicolons", " ": "blanks"}

_EXTENSION = "|".join(map(re.escape, sorted(LISTED_EXTENSIONS, key=len, reverse=True)))
_VIDEO_NAME = re.compile(rf"(?P<path>.*?(?:{_EXTENSION}))(?:\s+(?P<label>\S.*))?", re.IGNORECASE)
_FRAMES = re.compile(r"(?P<path>\S.*?)\s+(?P<frames>\d+)\s+(?P<label>-?\d+)")
_PATH_AND_ID = re.compile(r"(?P<path>\S+)\s+(?P<label>-?\d+)")
_NUMBER = re.compile(r"-?\d+")
_ENDS_IN_NUMBER = re.compile(r"(?:^|\s)-?\d+$")
_LABELS = re.compile(r"[\s,;|]+")
_HMDB_SPLIT = re.compile(r"_test_split\d\.txt$", re.IGNORECASE)

_SEVERAL = "several labels for one video, which has one label here"
_OFFSETS = (
    "an annotation list of frame folders with offsets or several labels; write `folder frames "
    "label` in each line"
)

# What each line of a list without a header is.
_PATHS = "path of a video"
_LABELED = "path and label"
_FOLDERS = "folder of frames, number of frames and label"
_IDS = "id and label"


@dataclass(frozen=True)
class TextFormat:
    """The format of a text list.

    Attributes:
        delimiter: character between cells; "" if each line is only a path.
        header: names of the columns in the first line; None without a header.
        columns: the columns; None without a header.
        line: what each line of a list without a header is, in words.
    """

    delimiter: str
    header: tuple[str, ...] | None = None
    columns: Columns | None = None
    line: str = _LABELED

    def rows(self, lines: Iterable[str]) -> Iterator[Row]:
        """Yields the row of each line that is not empty; cells are stripped of blanks.

        Args:
            lines: all lines of the list, decoded with `surrogateescape`.
        """
        if self.header is not None:
            return self._with_header(lines)
        if self.delimiter in ("", " "):
            return map(self._row, self._stripped(lines))
        return map(self._row, delimited_rows(lines, self.delimiter, lambda _: False))

    def _with_header(self, lines: Iterable[str]) -> Iterator[Row]:
        header, columns = self.header, self.columns
        assert header is not None
        assert columns is not None
        used = [place for place, name in enumerate(header) if name in columns.names.values()]

        def may_span(cells: list[str]) -> bool:
            """Whether only columns that are not read, such as a caption, hold line breaks."""
            read = (cells[place] for place in used if place < len(cells))
            return not any("\n" in cell or "\r" in cell for cell in map(str.strip, read))

        rows = delimited_rows(lines, self.delimiter, may_span)
        next(rows)
        for number, cells, line, problem in rows:
            if not problem and len(cells) > len(header):
                problem = (
                    f"it has {len(cells)} cells and the header names {len(header)}, by "
                    f"{_in_words(self.delimiter)}; quote cells that contain the delimiter"
                )
            row = {} if problem else columns.of(dict(zip(header, cells, strict=False)))
            yield Row(f"line {number}", row, line, problem)

    def _stripped(self, lines: Iterable[str]) -> Iterator[Cells]:
        for number, line in enumerate(lines, start=1):
            stripped = line.strip()
            if stripped:
                problem = why_not_utf8(stripped)
                yield Cells(number, [] if problem else self.split(stripped), line, problem)

    def _row(self, found: Cells) -> Row:
        number, cells, line, problem = found
        if not problem and not self.fits(cells):
            problem = f"it is not a {self.line} like the first line"
            if _has_several_labels(cells):
                problem = f"it has {_SEVERAL}"
        if problem:
            return bad_row(f"line {number}", line, problem)
        return Row(f"line {number}", self._cells(cells), line)

    def _cells(self, cells: Sequence[str]) -> dict[str, Any]:
        if self.line == _FOLDERS:
            return dict(zip(("uri", "frames", "label"), cells, strict=True))
        return dict(zip(("video_id" if self.line == _IDS else "uri", "label"), cells, strict=False))

    def split(self, line: str) -> list[str]:
        """The cells of one line of a list without a header."""
        if self.delimiter == "":
            return [_unquoted(line)]
        if self.delimiter != " " or line.startswith('"'):
            return split(line, self.delimiter)
        return _by_blanks(line, _FRAMES if self.line == _FOLDERS else _VIDEO_NAME)

    def fits(self, cells: Sequence[str]) -> bool:
        """Whether cells are a line of a list without a header."""
        if self.line == _FOLDERS:
            return _is_frames(cells)
        if self.line == _IDS:
            return _is_id_and_label(cells, self.delimiter)
        if len(cells) == 1:
            return _is_path(cells[0])
        return self.line == _LABELED and _is_path_and_label(cells)


def text_format(name: str, lines: Sequence[str], options: ListOptions) -> TextFormat:
    """Detects the format of a text list.

    Args:
        name: the file's name.
        lines: its first lines, whole ones; at least one is not empty.
        options: of the list.

    Raises:
        NotAListError: the format is another one; the message names it and shows the first line.
    """
    filled = [line.strip() for line in lines if line.strip()]
    try:
        found = _header_format(filled[0], options)
        if found is not None:
            return found
        _refuse_known(name)
        return _headless_format(filled, options)
    except NotAListError as error:
        raise NotAListError(f"{error}; its first line is {shown(filled[0])}") from None


def json_kind(loaded: Any) -> str:
    """Describes a JSON object that is not a list of videos."""
    keys = [str(key).strip().lower() for key in loaded] if isinstance(loaded, dict) else []
    named = f" with {', '.join(keys[:8])}" if keys else ""
    return known_list(keys) or f"one JSON object{named}; write a list of objects, each with a uri"


def _delimiters(options: ListOptions) -> Iterable[str]:
    return _DELIMITERS if options.delimiter is None else (options.delimiter,)


def _in_words(delimiter: str) -> str:
    return _DELIMITERS.get(delimiter, repr(delimiter))


def _header_format(first: str, options: ListOptions) -> TextFormat | None:
    """The format of a list whose first line is a header; None if it is not."""
    for delimiter in _delimiters(options):
        names = split(first, delimiter)
        if not is_header(names, options):
            continue
        # Separated by blanks, words of a sentence and parts of a path look like names too.
        is_sure = options.uri_column is not None or options.delimiter is not None
        if delimiter == " " and not (is_sure or are_all_known(names) or known_list(names)):
            continue
        twice = [name for name in names if name and names.count(name) > 1]
        if twice:
            raise NotAListError(f"its header names {twice[0]!r} twice")
        columns = columns_of([name for name in names if name], options)
        return TextFormat(delimiter, tuple(names), columns)
    if options.uri_column is not None:
        names = max((split(first, each) for each in _delimiters(options)), key=len)
        raise missing_column(FLAGS["uri"], options, names)
    return None


def _headless_format(lines: Sequence[str], options: ListOptions) -> TextFormat:
    """The format of a list without a header: that of most lines among those of the first line.

    A line that does not fit is a bad one; where formats are fit by as many lines, the first of
    tabs, commas, semicolons, no delimiter and blanks is taken.
    """
    tried = [TextFormat(each) for each in ("\t", ",", ";")]
    tried += [TextFormat("", line=_PATHS), TextFormat(" ")]
    tried += [TextFormat(each, line=_FOLDERS) for each in _DELIMITERS]
    if options.video_root is not None:
        tried += [TextFormat(each, line=_IDS) for each in _DELIMITERS]
    if options.delimiter is not None:
        lines_of = (_LABELED, _FOLDERS, *((_IDS,) if options.video_root is not None else ()))
        tried = [TextFormat(options.delimiter, line=each) for each in lines_of]
    fitting = [each for each in tried if each.fits(each.split(lines[0]))]
    if not fitting:
        raise NotAListError(_why_no_format(lines[0], tried))
    named = next((flag for flag in FLAGS.values() if getattr(options, flag) is not None), None)
    if named is not None:
        flag = f"--{named.replace('_', '-')}"
        if any(each.line != _IDS for each in fitting):
            raise NotAListError(f"it has no header line, so there is no column that {flag} names")
        cells = ", ".join(map(repr, fitting[0].split(lines[0])))
        raise NotAListError(
            f"there is no column that {flag} names: if its first line is a header, its columns are "
            f"{cells}, of which none means paths or ids; --uri-column or --id-column names one"
        )

    def score(each: TextFormat) -> tuple[int, bool]:
        cells = [found for found in map(each.split, lines) if each.fits(found)]
        splits = not each.delimiter or any(len(found) > 1 for found in cells)
        return len(cells), splits

    return max(fitting, key=score)


def _why_no_format(first: str, tried: Sequence[TextFormat]) -> str:
    cells = [each.split(first) for each in tried]
    if any(map(_has_several_labels, cells)):
        return f"it has {_SEVERAL}"
    if any(len(each) > 3 and all(map(_NUMBER.fullmatch, each[1:])) for each in cells):
        return f"this looks like {_OFFSETS}"
    return (
        "its first line names no column uri (or path, file_name, url, ...) and is not a `path "
        "label` of a video; --uri-column, --delimiter and --video-root tell of other lists"
    )


def _refuse_known(name: str) -> None:
    if _HMDB_SPLIT.search(name):
        raise NotAListError(
            "this is one of HMDB51's split files, whose numbers mean train or test instead of a "
            "class; write a list of `path label`"
        )


def _by_blanks(line: str, pattern: re.Pattern[str]) -> list[str]:
    """The cells of a line; a path that ends with a video's extension may contain blanks, and so
    may that of a folder of frames.
    """
    found = pattern.fullmatch(line) or _PATH_AND_ID.fullmatch(line)
    if found is None:
        return split(line, " ")
    return [_unquoted(cell) for cell in found.groups() if cell]


def _is_frames(cells: Sequence[str]) -> bool:
    """Whether cells are a folder of frames, their number and a label; of a video they are two
    labels, and after a number they may be anything.
    """
    if len(cells) != 3 or not (cells[1].isdecimal() and _NUMBER.fullmatch(cells[2])):
        return False
    return not _ENDS_IN_NUMBER.search(cells[0]) and extension_of(cells[0]) not in LISTED_EXTENSIONS


def _is_id_and_label(cells: Sequence[str], delimiter: str) -> bool:
    """Whether cells are an id and a label; separated by blanks, the label is a number."""
    if len(cells) != 2 or not _is_plain(cells[0]) or are_all_known(cells[1:]):
        return False
    return delimiter != " " or _NUMBER.fullmatch(cells[1]) is not None


def _is_plain(text: str) -> bool:
    """Whether a text may be an id: no path, no words, no name of a file."""
    return not re.search(r"[\s/\\,;|]", text) and extension_of(text) not in LISTED_EXTENSIONS


def _is_path_and_label(cells: Sequence[str]) -> bool:
    if len(cells) != 2 or extension_of(cells[1]) in LISTED_EXTENSIONS:
        return False
    path, label = cells
    if extension_of(path) not in LISTED_EXTENSIONS:
        return "/" in path and _NUMBER.fullmatch(label) is not None
    return not _are_numbers(label)


def _are_numbers(label: str) -> bool:
    several = [each for each in _LABELS.split(label) if each]
    return len(several) > 1 and all(map(_NUMBER.fullmatch, several))


def _has_several_labels(cells: Sequence[str]) -> bool:
    """Whether cells are a video and several labels."""
    if len(cells) < 2 or extension_of(cells[0]) not in LISTED_EXTENSIONS:
        return False
    return _are_numbers(" ".join(cells[1:]))


def _is_path(text: str) -> bool:
    return extension_of(text) in LISTED_EXTENSIONS or (
        "://" in text and not any(map(str.isspace, text))
    )


def _unquoted(text: str) -> str:
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] == '"' else text
