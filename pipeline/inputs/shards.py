"""Videos within tar archives: an archive among the videos of an input is replaced by its members.

A member that a list names stays as it is; of a gzipped archive it gets an index to be read by.
Archives are indexed in several threads, ahead of what is asked for, and in order.
"""

from __future__ import annotations

import hashlib
import posixpath
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

from pipeline.errors import UsageError
from pipeline.inputs.tar_headers import Member
from pipeline.inputs.tar_index import LABEL_EXTENSIONS, TarIndex, indexed, is_gzip
from pipeline.inputs.video import Video
from pipeline.inputs.video_names import EMPTY, extension_of, left_out_path
from pipeline.storage.location import Location
from sta.text import displayed
from workers.failures import ErrorType, UnitFailure
from workers.io.gzip_part import GzipRange
from workers.io.parts import ByteRange, refused

ARCHIVE_EXTENSIONS = (".tar", ".tar.gz", ".tgz")
WITHOUT_VIDEO = "archives without a video"

_THREADS = 16
_AHEAD = 32
_LONGEST_NAME = 4096

# What does not lie in the content of an archive; the same archive can perhaps be read later.
_NOT_NOW = (ErrorType.unavailable, ErrorType.changed, ErrorType.internal)


def is_archive(name: str) -> bool:
    """Whether a file is an archive by its name."""
    return name.lower().endswith(ARCHIVE_EXTENSIONS)


@dataclass(frozen=True)
class _Pending:
    """A video, and what becomes of it: the members of an archive, or a member with an index.

    Attributes:
        video: the archive, the member, or any other video.
        index: of the archive.
        gzip_index: address of the index that the member is read by.
    """

    video: Video
    index: Future[TarIndex] | None = None
    gzip_index: Future[str] | None = None

    @property
    def is_plain(self) -> bool:
        """Whether the video stays as it is."""
        return self.index is None and self.gzip_index is None


@dataclass(frozen=True)
class Shards:
    """Replaces archives by their members.

    Attributes:
        why_left_out: why a member is no video, by its name; None if it may be one.
        skip: called with the reason and the name of each member that is left out.
        gzip_indexes: folder for the indexes of gzipped archives; without one, a decoder unpacks
            such an archive from its beginning.
    """

    why_left_out: Callable[[str], str | None]
    skip: Callable[[str, str], None]
    gzip_indexes: Location | None = None

    def expanded(self, videos: Iterable[Video]) -> Iterator[Video]:
        """Yields the videos, and the members of each archive in its place.

        Raises:
            UsageError: an archive cannot be read, for a reason that is not its content.
        """
        waiting: deque[_Pending] = deque()
        pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="archives")  # starts none as yet
        made: dict[tuple[str, str | None], Future[str]] = {}
        try:
            for video in videos:
                pending = _Pending(video)
                if self._lacks_index(video):
                    key = video.uri, video.etag
                    if key not in made:
                        made[key] = pool.submit(self._index_of_listed, *key)
                    pending = _Pending(video, gzip_index=made[key])
                elif is_archive(video.uri) and video.part is None and video.size_bytes != 0:
                    index = pool.submit(indexed, video.uri, video.size_bytes, video.etag)
                    pending = _Pending(video, index)
                waiting.append(pending)
                while waiting and (waiting[0].is_plain or len(waiting) > _AHEAD):
                    yield from self._done(waiting.popleft())
            while waiting:
                yield from self._done(waiting.popleft())
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _lacks_index(self, video: Video) -> bool:
        """Whether a video is a member of a gzipped archive without an index to read it by."""
        part = video.part or ""
        is_listed = part.startswith(f"{GzipRange.kind}:") and "@" not in part
        return is_listed and self.gzip_indexes is not None and is_gzip(video.uri)

    def _index_of_listed(self, uri: str, etag: str | None) -> str:
        """The address of the index of an archive whose members a list names.

        "" where the archive cannot be read, as the rows of its members say, or is another one by
        now.
        """
        try:
            index = indexed(uri, None, etag)
        except UnitFailure:
            return ""
        return self._gzip_index(uri, index) if etag in (None, index.etag) else ""

    def _done(self, pending: _Pending) -> Iterator[Video]:
        video = pending.video
        try:
            if pending.index is not None:
                yield from self._members(video, pending.index.result())
            elif pending.gzip_index is not None:
                at = pending.gzip_index.result()
                yield replace(video, part=f"{video.part}@{at}" if at else video.part)
            else:
                yield video
        except OSError as error:
            raise UsageError(f"cannot list {video.uri}: {error.strerror or error}") from error
        except UnitFailure as failure:
            if failure.error_type in _NOT_NOW:
                raise UsageError(f"cannot list {video.uri}: {failure.message}") from None
            yield _not_read(video, failure, failure.message)

    def _members(self, archive: Video, index: TarIndex) -> Iterator[Video]:
        archive = replace(archive, etag=index.etag)
        at = self._gzip_index(archive.uri, index) if is_gzip(archive.uri) else None
        names = [_path(member.name) for member in index.members]
        labels = _labels(index)
        why = {name: self._why_left_out(name) for name in names}
        keys = {key for name in names if why[name] is None for key in _keys(name)}
        ids: dict[str, int] = {}
        for member, name in zip(index.members, names, strict=True):
            reason = why[name]
            if reason is None and not member.size and member.problem is None:
                reason = EMPTY
            if reason is not None:
                stem, extension = posixpath.splitext(name)
                if extension.lower() not in LABEL_EXTENSIONS or stem not in keys:
                    self.skip(reason, f"{archive.video_id}/{name}")
                continue
            identity = _unused(f"{archive.video_id}/{_shown(name)}", ids)
            label = next((labels[key] for key in _keys(name) if key in labels), None)
            yield replace(
                archive,
                video_id=identity,
                size_bytes=member.size,
                ground_truth=label or archive.ground_truth,
                part=_part(member, name, at),
            )
        if index.problem is not None:
            rest = f"{index.problem.message}; {len(ids):,} videos before that are listed"
            yield _not_read(archive, index.problem, rest if ids else index.problem.message)
        elif not ids:
            self.skip(WITHOUT_VIDEO, archive.video_id)

    def _gzip_index(self, uri: str, index: TarIndex) -> str:
        """The address of an archive's index, which is written first; "" without a folder."""
        if self.gzip_indexes is None:
            return ""
        version = f"{uri}\0{index.etag}".encode()
        name = hashlib.blake2b(version, digest_size=10).hexdigest()
        file = self.gzip_indexes.child(f"{name}.gzidx")
        file.write_bytes(index.gzip_index)
        return file.uri

    def _why_left_out(self, name: str) -> str | None:
        place = left_out_path([each for each in name.split("/")[:-1] if each not in ("", "..")])
        return place[1] if place is not None else self.why_left_out(name)


def _not_read(archive: Video, failure: UnitFailure, message: str) -> Video:
    """The row of what is not read of an archive."""
    part = refused(failure.error_type, message)
    return replace(archive, part=part, size_bytes=0, ground_truth=None)


def _part(member: Member, name: str, gzip_index: str | None) -> str:
    """Where a member lies in its archive, or why it is not read."""
    problem = member.problem
    if name.startswith("/") or ".." in name.split("/"):
        problem = "a member whose name leads out of the archive's folder"
    elif "\0" in name or len(name) > _LONGEST_NAME:
        problem = "a member whose name is no path"
    if problem is not None:
        return refused(ErrorType.not_video, f"{problem} is not read")
    if gzip_index is not None:
        return str(GzipRange(member.offset, member.size, gzip_index))
    return str(ByteRange(member.offset, member.size))


def _path(name: str) -> str:
    """A member's name without `.` and doubled slashes; `..` stays."""
    path = "/".join(each for each in name.split("/") if each not in ("", "."))
    return f"/{path}" if name.startswith("/") else path


def _shown(name: str) -> str:
    """A member's name as part of a video_id: Unicode, at most as long as a path."""
    if "\0" in name or len(name) > _LONGEST_NAME:
        return displayed(name, longest=200)
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _unused(identity: str, ids: dict[str, int]) -> str:
    """An id of its own for a name that stands in an archive several times: `a.mp4`, `a#2.mp4`."""
    root, extension = posixpath.splitext(identity)
    found = identity
    while found in ids:
        ids[identity] += 1
        found = f"{root}#{ids[identity]}{extension}"
    ids[found] = 1
    return found


def _keys(name: str) -> tuple[str, str]:
    """The names of labels without their extension: that of the video, or, as WebDataset groups
    members, up to its first dot.
    """
    folder, base = posixpath.split(name)
    return posixpath.splitext(name)[0], posixpath.join(folder, base.partition(".")[0])


def _labels(index: TarIndex) -> dict[str, str]:
    """Labels by the names of the members that hold them, without extensions; the best kind."""
    found: dict[str, str] = {}
    for extension in LABEL_EXTENSIONS:
        for name, label in index.labels.items():
            if extension_of(name) == extension:
                found.setdefault(posixpath.splitext(_path(name))[0], label)
    return found
