"""Videos of a list that a user gives: the cells of its rows are checked and converted."""

from __future__ import annotations

import math
import posixpath
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pipeline.errors import UsageError
from pipeline.inputs.dataset_lists import NamedClip, named_clip, without_placeholders
from pipeline.inputs.lance_rows import lance_rows
from pipeline.inputs.left_out import (
    BAD_ROWS,
    LONGEST_NAME,
    MORE_SEGMENTS,
    SECRET_ROWS,
    WITHOUT_FILE,
)
from pipeline.inputs.list_columns import KINETICS, OURS
from pipeline.inputs.list_options import ListOptions
from pipeline.inputs.list_row import Row, shown
from pipeline.inputs.list_rows import file_rows, parquet_rows
from pipeline.inputs.listed_part import listed_part, part_size
from pipeline.inputs.video import Video
from pipeline.inputs.video_root import VideoRoot
from pipeline.storage.addresses import absolute
from pipeline.storage.location import Location
from sta.text import displayed, holds_secret, redacted
from workers.io.frame_folder import FrameFolder

# How pandas, SQL and Spark write an empty cell.
_EMPTY_CELLS = {"nan", "none", "null", "<na>", "na", "n/a", "nat", "#n/a"}


@dataclass
class UserManifest:
    """Videos of a list that a user gives.

    Attributes:
        options: of the list.
        root: makes the index of the files below `--video-root`, if rows name ids.
        skip: called with the reason and the name of each row that is left out.
        unread: names of columns that are not read, as soon as they are known.
        rows: rows that were read so far, also those that were left out.
    """

    options: ListOptions
    root: Callable[[], VideoRoot]
    skip: Callable[[str, str], None]
    unread: dict[str, None] = field(default_factory=dict)
    rows: int = 0
    _in_segments: dict[str, Video] = field(default_factory=dict, repr=False)

    @property
    def in_segments(self) -> int:
        """Videos so far of which a run's manifest names segments."""
        return len(self._in_segments)

    def videos_of_file(self, file: Location) -> Iterator[Video]:
        """Videos of a list in a file; relative paths start at its folder or at `--video-root`.

        Raises:
            UsageError: the list cannot be read, a row is wrong, or no row has a file.
        """
        rows = file_rows(file, self.options, self.unread)
        return self._videos([(file, rows)], posixpath.dirname(file.uri))

    def videos_of_parquet(self, folder: Location, files: Iterable[Location]) -> Iterator[Video]:
        """Videos of a list in several Parquet files; relative paths start at the folder.

        Raises:
            UsageError: as in `videos_of_file`; the message names the file.
        """
        parts = ((file, parquet_rows(file, self.options, self.unread)) for file in files)
        return self._videos(parts, folder.uri)

    def videos_of_lance(self, table: Location) -> Iterator[Video]:
        """Videos of a Lance table; relative paths start at the folder it lies in.

        Raises:
            UsageError: as in `videos_of_file`.
        """
        rows = lance_rows(table, self.options, self.unread)
        return self._videos([(table, rows)], posixpath.dirname(table.uri))

    def _videos(
        self, parts: Iterable[tuple[Location, Iterator[Row]]], base: str
    ) -> Iterator[Video]:
        folder, base = base, self.options.video_root or base
        found, lost = 0, None
        for file, rows in parts:
            for row in rows:
                self.rows += 1
                if "frames" in row.cells and self.options.fps is None:
                    raise UsageError(
                        f"{file.uri} is an annotation list of frame folders (`folder frames "
                        f"label`); --fps N says how many frames a second they have"
                    )
                try:
                    if row.problem:
                        raise ValueError(row.problem)
                    video = self._video(_named(row.cells, file, folder), base)
                except UsageError:
                    raise  # of the folder of the videos
                except ValueError as error:
                    self._leave_out(file, row, error)
                    continue
                if isinstance(video, NamedClip):
                    lost = lost or (file, video)
                    self.skip(WITHOUT_FILE, video.names[0])
                    continue
                if self._is_listed(row.cells, video):
                    self.skip(MORE_SEGMENTS, video.video_id)
                    continue
                found += 1
                yield video
        if lost is not None and not found:
            file, clip = lost
            raise UsageError(
                f"no row of {file.uri} has a file below --video-root, such as "
                f"{' or '.join(clip.names)} with a video's extension; {self.root().held()}"
            )

    def _is_listed(self, cells: Mapping[str, Any], video: Video) -> bool:
        """Whether a row of a run's manifest is another segment of a video that was read."""
        unit, _, *span = OURS
        if unit not in cells or all(_text(cells.get(each)) is None for each in span):
            return False
        seen = self._in_segments.setdefault(video.video_id, video)
        return seen is not video and (seen.uri, seen.part) == (video.uri, video.part)

    def _leave_out(self, file: Location, row: Row, error: ValueError) -> None:
        """Counts a row that cannot be read, or refuses the list."""
        line = shown(row.line)
        if not self.options.skip_bad_lines:
            raise UsageError(
                f"{file.uri}, {row.place}: {error}; the {row.place.split()[0]} is {line}; "
                f"--skip-bad-lines leaves such rows out"
            ) from None
        what = str(error).partition("; ")[0]
        said = displayed(f"{row.place}: {what}: {line}", longest=LONGEST_NAME)
        self.skip(SECRET_ROWS if isinstance(error, _SecretError) else BAD_ROWS, said)

    def _video(self, row: Mapping[str, Any], base: str) -> Video | NamedClip:
        """The video of a row; of a row whose file is not found the clip that it names."""
        _refuse_secrets(row)
        given = _text(row.get("label"))
        label = None if given is None else redacted(given)
        if "uri" in row:
            uri = _uri(row.get("uri"))
            part = _part(row.get("part")) or self._frames(row.get("frames"))
            size = None if part is None else part_size(part)
            return Video(
                video_id=_identity(row.get("video_id")) or uri,
                uri=absolute(uri, base),
                size_bytes=_size(row.get("size_bytes")) if size is None else size,
                ground_truth=label,
                etag=_etag(row.get("etag")),
                part=part,
            )
        ids = {name: _identity(row.get(name)) for name in ("video_id", KINETICS[0])}
        texts = {name: _text(row.get(name)) for name in KINETICS[1:]}
        clip = named_clip(ids | texts | {"label": label})
        file = self.root().find(clip)
        if file is None:
            return clip
        label = None if label is None else without_placeholders(label)
        return replace(file, video_id=clip.video_id, ground_truth=label)

    def _frames(self, count: Any) -> str | None:
        """The part of a folder with so many frames; None for a row of no folder."""
        if count is None or self.options.fps is None:
            return None
        number = int(count)
        if not number:
            raise ValueError("the folder has 0 frames")
        return str(FrameFolder(self.options.fps, number))


def _named(cells: dict[str, Any], file: Location, folder: str) -> dict[str, Any]:
    """The cells of a row with an id: that of a video in a file begins with the file's name."""
    if "name" not in cells or cells.get("video_id") is not None:
        return cells
    below = file.uri.removeprefix(f"{folder.rstrip('/')}/")
    return cells | {"video_id": f"{below}/{cells['name']}"}


class _SecretError(ValueError):
    """A cell holds a key, a signature or a password."""


def _uri(value: Any) -> str:
    if isinstance(value, dict):
        raise ValueError("the uri is an object; pandas writes rows by to_json(orient='records')")
    text = _identity(value)
    if text is None or not isinstance(value, str):
        raise ValueError("no uri" if text is None else f"the uri is {text}, which is not text")
    return text


def _part(value: Any) -> str | None:
    """Where a video lies within its uri; None if the uri is the video."""
    # Blanks at its ends are those of a column's name.
    text = value if isinstance(value, str) and value.strip() else _text(value)
    return None if text is None else listed_part(_unicode(text))


def _refuse_secrets(row: Mapping[str, Any]) -> None:
    """Refuses cells that are used as they are: without its signature, an address is another one."""
    for name in ("uri", "video_id", "etag", "part", KINETICS[0]):
        cell = row.get(name)
        if cell is not None and holds_secret(str(cell)):
            raise _SecretError(
                f"the {name} contains credentials or a signature, which would be written to every "
                f"table; name s3://bucket/key and set the credentials in the environment"
            )


def _identity(value: Any) -> str | None:
    """A cell that names something; None if it is empty."""
    text = _text(value)
    if text is not None and text.lower() in _EMPTY_CELLS:
        raise ValueError(
            f"a cell is {text!r}, which is how programs write an empty cell; fill the cell in"
        )
    return text


def _text(value: Any) -> str | None:
    """A cell as text; None if it is empty.

    pandas stores a column of integers with empty cells as floats with NaN, so 3.0 is 3.
    """
    if value is None:
        return None
    if isinstance(value, str):
        return _unicode(value).strip() or None
    if isinstance(value, float):
        if math.isnan(value):
            return None
        if value.is_integer():
            return str(int(value))
    if isinstance(value, list | dict):
        raise ValueError(f"a cell is {shown(str(value))}; write one value")
    return str(value)


def _unicode(text: str) -> str:
    """The text; JSON can hold what is none: half of a surrogate pair, and no path holds a NUL."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"a cell is {shown(text)}, which is not Unicode") from None
    if "\0" in text:
        raise ValueError(f"a cell is {shown(text)}, which holds a NUL character")
    return text


def _size(value: Any) -> int | None:
    text = _text(value)
    if text is None:
        return None
    try:
        size = float(text)  # "10.0" is how pandas writes a whole number to CSV
    except ValueError:
        size = -1.0
    if not (size >= 0 and size.is_integer()):
        raise ValueError(f"size_bytes must be a whole number of bytes; got {shown(text)}")
    return int(size)


def _etag(value: Any) -> str | None:
    """The ETag in quotes, as object storage gives it, so that the two can be compared."""
    text = _text(value)
    return text if text is None or text.endswith('"') else f'"{text}"'
