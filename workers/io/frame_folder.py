"""A video that is a folder of numbered pictures: ``frames:FPS``, or ``frames:FPS/COUNT``.

The folder is listed when the video is decoded, and only the wanted pictures are read.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import ClassVar
from urllib.parse import quote

from sta.transport.object_address import is_object, is_remote, object_address
from sta.transport.obstore_errors import store_error
from sta.transport.responses import StoreError
from sta.transport.retry import VIDEOS, Retries
from sta.transport.store import store_of
from workers.failures import ErrorType, UnitFailure
from workers.io.content import FileContent
from workers.io.fetching import (
    MEMORY_BYTES,
    anonymous_file,
    file_path,
    open_source,
    read_only,
    write_all,
)
from workers.io.frame_table import FPS, FrameSource, FrameTable
from workers.io.objects import wait_or_raise

IMAGE_EXTENSIONS = (".jpg", ".jpeg", ".png", ".webp", ".bmp")

_AT_ONCE = 8  # requests
_MOST_FRAMES = 1 << 24
_MOST_IMAGE_BYTES = 256 << 20
_MOST_BYTES = 2 << 30
_EXTENSIONS = "|".join(map(re.escape, IMAGE_EXTENSIONS))
_NUMBERED = re.compile(
    rf"(?P<name>.*?)(?P<number>\d{{1,15}})(?P<extension>{_EXTENSIONS})",
    re.IGNORECASE | re.DOTALL,
)
# mmaction2 puts pictures of the optical flow beside the frames.
_NO_FRAMES = ("flow_", ".")
_LOST = (ErrorType.not_found, ErrorType.empty)


def is_frame(name: str) -> bool:
    """Whether a file is a frame by its name: a number before the extension of a picture."""
    return not name.lower().startswith(_NO_FRAMES) and _NUMBERED.fullmatch(name) is not None


def is_folder(part: str | None) -> bool:
    """Whether a manifest's ``part`` says that the uri is a folder of frames."""
    return part is not None and part.startswith(f"{FrameFolder.kind}:")


@dataclass(frozen=True)
class FrameFolder:
    """A video that is a folder of pictures.

    Attributes:
        fps: frames a second.
        count: number of frames that a list gives; None for those of the folder.
    """

    fps: float
    count: int | None = None

    kind: ClassVar[str] = "frames"

    @classmethod
    def of(cls, part: str | None) -> FrameFolder | None:
        """The folder that a manifest's ``part`` says that the uri is; None for other parts."""
        if part is None or not is_folder(part):
            return None
        found = re.fullmatch(r"frames:(\d+(?:\.\d+)?(?:e[+-]?\d+)?)(?:/(\d+))?", part)
        fps = float(found[1]) if found else 0.0
        if found is None or not FPS[0] <= fps <= FPS[1]:
            raise UnitFailure(
                ErrorType.internal,
                f"the part {part!r} of the manifest is wrong: it is not frames:FPS or "
                f"frames:FPS/COUNT, with FPS from {FPS[0]:g} to {FPS[1]:,.0f}",
            )
        count = int(found[2]) if found[2] else None
        if count is not None and count > _MOST_FRAMES:
            raise UnitFailure(
                ErrorType.too_large,
                f"the list gives the folder {count:,} frames; {_MOST_FRAMES:,} are allowed",
            )
        return cls(fps, count)

    def __str__(self) -> str:
        return f"{self.kind}:{self.fps!r}" + (f"/{self.count}" if self.count else "")

    def listed(self, uri: str, *, seconds: float) -> FrameList:
        """The frames of the folder ``uri``; raises UnitFailure if there are none."""
        names = _names_of_objects(uri, seconds) if is_remote(uri) else _names_of_files(uri)
        found = _frames(filter(is_frame, names))
        if self.count is not None:
            names_by_index = {at: name for at, name in found.names.items() if at < self.count}
            found = FrameList(names_by_index, self.count)
        return found


@dataclass(frozen=True)
class FrameList:
    """The frames of a folder.

    Attributes:
        names: of the files, by the index of the frame; numbers that are missing have none.
        count: frames from the first number to the last, missing ones included.
    """

    names: dict[int, str]
    count: int


@contextmanager
def open_frames(
    uri: str, frames: FrameList, wanted: Iterable[int], table: FrameTable, *, seconds: float
) -> Iterator[FrameSource]:
    """The frames ``wanted`` of a folder; ``table`` receives where they lie.

    Raises UnitFailure, unless a picture is only missing or empty.
    """
    found = [index for index in wanted if index in frames.names]
    addresses = [_address(uri, frames.names[index]) for index in found]
    spans, contents, size = [], [], 0
    for index, data in zip(found, _contents(addresses, seconds), strict=True):
        if data:
            spans.append((index, size, len(data)))
            contents.append(data)
            size += len(data)
        if size > _MOST_BYTES:
            raise UnitFailure(
                ErrorType.too_large,
                f"the frames of the clips have more than {_MOST_BYTES >> 20:,} MiB",
            )
    table = replace(table, lost=table.lost + len(found) - len(spans), spans=spans)
    descriptor = anonymous_file(in_memory=size <= MEMORY_BYTES)
    try:
        while contents:
            write_all(descriptor, contents.pop(0))
        descriptor = read_only(descriptor)
        content = FileContent(descriptor, size)
        yield FrameSource(content, fetched=size, table=table)
    finally:
        os.close(descriptor)


def _contents(addresses: list[str], seconds: float) -> Iterator[bytes]:
    """The bytes of files or objects, in order; none of those that are missing or empty."""
    retries = Retries(replace(VIDEOS, seconds=seconds))

    def read(address: str) -> bytes:
        left_s = max(retries.remaining_s, 0.001)
        try:
            with open_source(address, max_bytes=_MOST_IMAGE_BYTES, seconds=left_s) as source:
                return source.read_at(0, source.size)
        except UnitFailure as failure:
            if failure.error_type in _LOST:
                return b""
            raise

    with retries.running(), ThreadPoolExecutor(_AT_ONCE) as pool:
        for at in range(0, len(addresses), _AT_ONCE):
            yield from pool.map(read, addresses[at : at + _AT_ONCE])


def _address(uri: str, name: str) -> str:
    if uri.startswith("file://"):
        return f"{uri.rstrip('/')}/{quote(os.fsencode(name))}"
    return f"{uri.rstrip('/')}/{name}"


def _names_of_files(uri: str) -> list[str]:
    """Names of a folder's files; links are none."""
    path = file_path(uri) if uri.startswith("file://") else uri
    try:
        with os.scandir(path) as entries:
            return [entry.name for entry in entries if entry.is_file(follow_symlinks=False)]
    except FileNotFoundError:
        raise UnitFailure(ErrorType.not_found, "no such folder") from None
    except NotADirectoryError:
        raise UnitFailure(ErrorType.not_video, "a file, not a folder of frames") from None
    except PermissionError:
        raise UnitFailure(ErrorType.forbidden, "no permission to list the folder") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "unknown error"
        raise UnitFailure(
            ErrorType.unavailable, f"the folder could not be listed: {reason}"
        ) from None


def _names_of_objects(uri: str, seconds: float) -> list[str]:
    if not is_object(uri):
        raise UnitFailure(ErrorType.not_video, "a web server lists no folder of frames")
    address, retries = object_address(uri), Retries(replace(VIDEOS, seconds=seconds))
    prefix = f"{address.key.rstrip('/')}/"
    with retries.running():
        while True:
            try:
                listed = store_of(address, retries.policy).list_with_delimiter(prefix)
                return [entry["path"].rpartition("/")[2] for entry in listed["objects"]]
            except Exception as error:
                problem = error if isinstance(error, StoreError) else store_error(error)
                wait_or_raise(retries, problem)


def _frames(names: Iterable[str]) -> FrameList:
    """The frames of a folder, in the order of their numbers.

    Numbers may have zeros in front or none, begin anywhere, and have equal steps. Where files of
    several names are numbered, those count that are more than all others.
    """
    series: dict[tuple[str, str], dict[int, str]] = {}
    total = 0
    for name in names:
        parts = _NUMBERED.fullmatch(name)
        assert parts is not None
        numbers = series.setdefault((parts["name"], parts["extension"].lower()), {})
        numbers.setdefault(int(parts["number"]), name)
        total += 1
    if not total:
        raise UnitFailure(
            ErrorType.not_video,
            f"the folder holds no numbered pictures, such as img_00001.jpg "
            f"({', '.join(IMAGE_EXTENSIONS)})",
        )
    (name, extension), best = max(series.items(), key=lambda each: len(each[1]))
    if 2 * len(best) <= total:
        raise UnitFailure(
            ErrorType.not_video,
            f"the folder holds {len(series)} series of numbered pictures, and none of them is "
            f"most of the {total:,} files; {name}NUMBER{extension} has {len(best):,}",
        )
    ordered = sorted(best)
    first, step = ordered[0], math.gcd(*(each - ordered[0] for each in ordered)) or 1
    count = (ordered[-1] - first) // step + 1
    if count > _MOST_FRAMES or 2 * len(best) <= count:
        raise UnitFailure(
            ErrorType.corrupt,
            f"the folder holds {len(best):,} of {count:,} frames; more than half must be there",
        )
    return FrameList({(each - first) // step: best[each] for each in ordered}, count)
