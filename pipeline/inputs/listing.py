"""Lists the videos of an input: a directory, prefix, video, archive, list, or pattern of these."""

from __future__ import annotations

import os
import posixpath
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from pipeline.errors import UsageError
from pipeline.inputs.first_bytes import with_heads
from pipeline.inputs.folder_walk import FolderWalk
from pipeline.inputs.frame_folders import FrameFolders
from pipeline.inputs.lance_rows import is_lance
from pipeline.inputs.left_out import (
    MAX_KINDS,
    NAMED,
    NAMES_PER_REASON,
    OTHER_KINDS,
    left_out_text,
    shortened,
)
from pipeline.inputs.list_detection import LIST_EXTENSIONS, is_list
from pipeline.inputs.list_options import ListOptions
from pipeline.inputs.pattern_files import PatternFiles
from pipeline.inputs.patterns import Pattern
from pipeline.inputs.shards import Shards, is_archive
from pipeline.inputs.user_manifest import UserManifest
from pipeline.inputs.video import Video, file_video
from pipeline.inputs.video_filter import VideoFilter
from pipeline.inputs.video_names import VIDEO_EXTENSIONS, extension_of, left_out_path
from pipeline.inputs.video_root import VideoRoot
from pipeline.storage.location import Location
from pipeline.storage.object_listing import entries, one_entry
from pipeline.storage.storage_errors import storage_reason
from sta.text import holds_secret
from sta.transport.responses import StoreError
from workers.io.parts import refusal

_REPORT_SECONDS = 1.0
_HEAD_BYTES = 1 << 16


@dataclass
class Listing:
    """The videos of an input, and counts of the files that were left out.

    No name of a file or folder ends a listing: what cannot be listed is left out and counted.

    Attributes:
        source: path or address to list.
        all_files: include files without a video's extension, unless their first bytes show another
            format.
        follow_links: follow links that lead out of a directory.
        lists: how a list is read.
        gzip_indexes: folder for indexes of gzipped archives, which decoders read; see `shards`.
        report: called about once a second with the number of videos found so far.
        skipped: files and folders left out, counted by extension or by another reason.
        names: a few names of them by reason, for the reasons in `left_out.NAMED`.
        found: number of videos found so far.
        is_list: whether the source is a list of videos; known after the first video.
        unread: names of the list's columns that are not read, in order.
        rows: rows of the list so far, also those that were left out.
        in_segments: videos so far of which the list, a run's manifest, names segments.
    """

    source: str
    all_files: bool = False
    follow_links: bool = False
    lists: ListOptions = field(default_factory=ListOptions)
    gzip_indexes: Location | None = None
    report: Callable[[int], None] | None = None
    skipped: Counter[str] = field(default_factory=Counter)
    names: dict[str, list[str]] = field(default_factory=dict)
    found: int = 0
    is_list: bool = False
    unread: dict[str, None] = field(default_factory=dict)
    rows: int = 0
    in_segments: int = 0
    _tables: list[str] = field(default_factory=list, repr=False)
    _files_by_name: VideoRoot | None = field(default=None, repr=False)
    _reported: float = field(default_factory=time.monotonic, repr=False)

    def __post_init__(self) -> None:
        self._filter = VideoFilter(self.all_files)

    def again(
        self,
        report: Callable[[int], None] | None = None,
        gzip_indexes: Location | None = None,
    ) -> Listing:
        """The same listing before its first video."""
        return Listing(
            self.source,
            all_files=self.all_files,
            follow_links=self.follow_links,
            lists=self.lists,
            gzip_indexes=gzip_indexes,
            report=report,
            _files_by_name=self._files_by_name,
        )

    def videos(self) -> Iterator[Video]:
        """Yields all videos of the source, in a fixed order.

        Raises:
            UsageError: the source does not exist or cannot be read, or a list is malformed.
        """
        location = Location.of(self.source)
        patterns = self._patterns()
        if patterns.is_pattern(location):
            pattern = Pattern(location.uri)
            files = self._searched(Location(pattern.base), patterns.videos(pattern))
            return self._counted(self._storage_errors(files))
        if is_lance(location):
            self.is_list = True
            return self._counted(self._read(lambda manifest: manifest.videos_of_lance(location)))
        if location.is_object:
            return self._counted(self._in_storage(location))
        if location.is_remote:
            return self._counted(self._on_web(location))
        if os.path.isdir(location.uri):
            return self._counted(self._searched(location, self._files(location.uri)))
        if os.path.isfile(location.uri):
            video = file_video(location.uri, location.name, os.path.getsize(location.uri))
            return self._counted(self._one_file(location, video))
        if os.path.exists(location.uri):
            raise UsageError(f"{self.source} is a pipe, socket or device; name a file or directory")
        raise UsageError(f"there is no {self.source}")

    def _patterns(self) -> PatternFiles:
        return PatternFiles(
            folder=self._files,
            takes=self._may_be_video,
            skip=self._skip,
            follow_links=self.follow_links,
        )

    def _storage_errors(self, videos: Iterator[Video]) -> Iterator[Video]:
        """The videos; errors of listing a storage are raised as UsageError."""
        try:
            yield from videos
        except StoreError as error:
            raise UsageError(f"cannot list {self.source}: {storage_reason(error)}") from error

    def _counted(self, videos: Iterator[Video]) -> Iterator[Video]:
        for video in videos:
            self.found += 1
            self._tick()
            yield video

    def _tick(self) -> None:
        now = time.monotonic()
        if self.report is not None and now - self._reported >= _REPORT_SECONDS:
            self._reported = now
            self.report(self.found)

    def named(self) -> str | None:
        """A message about what was left out that users may miss; None without such files."""
        skipped = {reason: self.skipped[reason] for reason in self.names}
        text = left_out_text(skipped, self.names, most=len(NAMED), rows=self.rows)
        return f"left out: {text}" if text else None

    def _skip(self, reason: str, name: str = "") -> None:
        if reason not in self.skipped and len(self.skipped) >= MAX_KINDS and reason not in NAMED:
            reason = OTHER_KINDS
        self.skipped[reason] += 1
        if reason in NAMED:
            names = self.names.setdefault(reason, [])
            if len(names) < NAMES_PER_REASON:
                names.append(shortened(name))
        self._tick()

    def _one_file(self, location: Location, video: Video) -> Iterator[Video]:
        """The videos of a list, or the one video that was named."""
        name = location.name.lower()
        if is_archive(name):
            yield from self._one_archive(video)
        elif extension_of(name) in VIDEO_EXTENSIONS or not is_list(location, _head(location)):
            yield video
        else:
            self.is_list = True
            yield from self._read(lambda manifest: manifest.videos_of_file(location))

    def _read(self, videos: Callable[[UserManifest], Iterator[Video]]) -> Iterator[Video]:
        """The videos of a list, whose rows are counted."""
        manifest = UserManifest(self.lists, self._root, self._skip, self.unread)
        for video in self._opened(self._patterns().of_list(videos(manifest)), named=True):
            self.rows, self.in_segments = manifest.rows, manifest.in_segments
            yield video
        self.rows, self.in_segments = manifest.rows, manifest.in_segments

    def _root(self) -> VideoRoot:
        """The files below `--video-root`, which are listed once."""
        if self._files_by_name is None:
            root = self.lists.video_root
            assert root is not None
            listing = Listing(
                root,
                follow_links=self.follow_links,
                lists=ListOptions(fps=self.lists.fps),
                report=self.report,
            )
            self._files_by_name = VideoRoot(root, listing.videos())
        return self._files_by_name

    def _one_archive(self, video: Video) -> Iterator[Video]:
        for member in self._opened(iter([video]), named=True):
            failure = refusal(member.part)
            if failure is not None and not self.found and member.video_id == video.video_id:
                raise UsageError(f"cannot read {video.uri}: {failure.message}")
            yield member

    def _opened(self, videos: Iterator[Video], *, named: bool = False) -> Iterator[Video]:
        """Videos with the members of archives, without those whose content shows another format.

        Args:
            videos: files.
            named: whether the user named them; then content is looked at with `--all-files` alone,
                and only that of members.
        """

        def is_checked(video: Video) -> bool:
            return not named or (self.all_files and video.part is not None)

        shards = Shards(self._filter.why_no_member, self._skip, self.gzip_indexes)
        wanted = with_heads(
            shards.expanded(videos),
            lambda video: is_checked(video) and self._filter.needs_head(video),
        )
        for video, head in wanted:
            if not is_checked(video) or self._is_video(video, head):
                yield video

    def _searched(self, location: Location, files: Iterator[Video]) -> Iterator[Video]:
        """The videos among files, or, if there are none, those that their Parquet files list."""
        yield from self._opened(files)
        if self._tables and not self.found:
            _check_plain(location)
            self.is_list = True
            self.skipped[".parquet"] -= len(self._tables)
            self.skipped += Counter()  # drops counts of 0
            tables = map(Location, sorted(self._tables))
            yield from self._read(lambda manifest: manifest.videos_of_parquet(location, tables))

    def _may_be_video(self, name: str, uri: str) -> bool:
        """Whether a file may be a video by its name below the source; others are counted."""
        reason = self._filter.why_not_listed(name, uri)
        if reason == ".parquet" and not self.found and "/_" not in f"/{name}":
            self._tables.append(uri)
        if reason is not None:
            self._skip(reason, name)
        return reason is None

    def _is_video(self, video: Video, head: bytes | None) -> bool:
        """Whether a file may be a video by its size and first bytes; others are counted."""
        reason = self._filter.why_no_video(video, head)
        if reason is not None:
            self._skip(reason)
        return reason is None

    def _files(self, root: str) -> Iterator[Video]:
        frames = FrameFolders(self.lists.fps, posixpath.basename(root), file_video)
        walk = FolderWalk(
            root,
            skip=self._skip,
            takes=lambda below: frames.takes(below) or self._filter.why_no_file(below) is None,
            follow_links=self.follow_links,
        )
        for path, below, size_bytes in walk.files():
            if frames.takes(below) and not holds_secret(path):
                yield from frames.add(path, below, size_bytes)
            elif self._may_be_video(below, path):
                yield file_video(path, below, size_bytes)
        yield from frames.last()

    def _on_web(self, location: Location) -> Iterator[Video]:
        """The one video at an https:// address, or those of a list."""
        if not location.name:
            raise UsageError(
                f"{self.source}: folders of a web server cannot be listed; name one video, or a "
                f"list of the videos' https:// addresses (a text file with one a line, .csv, "
                f".jsonl or .parquet)"
            )
        yield from self._one_file(location, Video(location.name, location.uri))

    def _in_storage(self, location: Location) -> Iterator[Video]:
        """The videos of a list, of a prefix, or of one object."""
        is_named_list = location.name.lower().endswith(LIST_EXTENSIONS)
        if is_named_list:
            try:
                location.read_head(1)
            except FileNotFoundError:
                pass  # perhaps a prefix: Spark writes x.parquet/part-0.parquet
            except OSError as error:
                raise UsageError(str(error)) from error
            else:
                yield from self._one_file(location, Video(location.name, location.uri))
                return
        yield from self._storage_errors(self._searched(location, self._objects(location)))
        if not self.found and not self.skipped:
            if is_named_list:
                raise UsageError(f"there is no {self.source}")
            yield from self._storage_errors(self._one_object(location))

    def _one_object(self, location: Location) -> Iterator[Video]:
        """The object with exactly this key, if the address is not a prefix of others."""
        entry = one_entry(location.uri) if "/" in location.uri.partition("://")[2] else None
        if entry is not None:
            video = Video(location.name, location.uri, entry.size, etag=entry.etag)
            yield from self._one_file(location, video)

    def _objects(self, location: Location) -> Iterator[Video]:
        scheme, _, path = location.uri.partition("://")
        bucket, _, prefix = path.partition("/")
        folder = f"{prefix}/" if prefix else ""
        last: list[str] = []
        frames = FrameFolders(self.lists.fps, location.name)
        for entry in entries(location.uri):
            name = entry.key[len(folder) :]
            *above, base = name.split("/")
            left_out = left_out_path(above)
            address = f"{scheme}://{bucket}/{entry.key}"
            if left_out is not None:
                place, reason = left_out
                if above[: place + 1] != last:
                    last = above[: place + 1]
                    self._skip(reason)
            elif frames.takes(name) and not holds_secret(address):
                yield from frames.add(address, name, entry.size)
            elif base and self._may_be_video(name, address):
                yield Video(name, address, entry.size, etag=entry.etag)
        yield from frames.last()


def _head(location: Location) -> bytes:
    try:
        return location.read_head(_HEAD_BYTES)
    except OSError as error:
        raise UsageError(f"cannot read {location.uri}: {storage_reason(error)}") from error


def _check_plain(folder: Location) -> None:
    """Refuses folders whose Parquet files are not one list."""
    if folder.child("run.json").exists():
        raise UsageError(
            f"{folder.uri} is the OUTPUT of a run; to label its videos again, name the input of "
            f"the run or {folder.child('manifest').uri}"
        )
    if folder.child("_delta_log").exists():
        raise UsageError(
            f"{folder.uri} is a Delta table, whose files belong to several versions; write it as "
            f"plain Parquet"
        )
