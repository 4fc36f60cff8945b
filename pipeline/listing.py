"""From what a user names to the videos in it: a directory, object storage, one file, a manifest."""

from __future__ import annotations

import os
import posixpath
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import botocore.exceptions

from pipeline.errors import UsageError
from pipeline.input_manifest import MANIFEST_EXTENSIONS, manifest_videos
from pipeline.s3_filesystem import s3_client, storage_reason
from pipeline.storage import S3_SCHEME, Location
from pipeline.video import Video as Video

VIDEO_EXTENSIONS = frozenset(
    {
        ".3g2",
        ".3gp",
        ".asf",
        ".avi",
        ".flv",
        ".m2ts",
        ".m4v",
        ".mkv",
        ".mov",
        ".mp4",
        ".mpeg",
        ".mpg",
        ".mts",
        ".mxf",
        ".ogv",
        ".ts",
        ".vob",
        ".webm",
        ".wmv",
    }
)

# A server that does not answer the first request at all is probably not there, and is not waited
# for long. One that has answered, or that asks to be spared, is: waits grow to 20 s each.
_FIRST: dict[str, Any] = {
    "retries": {"mode": "standard", "total_max_attempts": 3},
    "connect_timeout": 5,
    "read_timeout": 20,
}
_PATIENT: dict[str, Any] = {
    "retries": {"mode": "adaptive", "total_max_attempts": 12},
    "connect_timeout": 10,
    "read_timeout": 60,
}
_BUSY = {"SlowDown", "Throttling", "ThrottlingException", "RequestLimitExceeded", "RequestTimeout"}

_REPORT_SECONDS = 1.0


@dataclass
class Listing:
    """Videos as they are found, and what was passed over on the way.

    Attributes:
        source: what is listed.
        report: called about once a second with the number of videos found so far.
        skipped: files that are no videos by their name, counted by extension.
        found: videos found so far.
    """

    source: str
    report: Callable[[int], None] | None = None
    skipped: Counter[str] = field(default_factory=Counter)
    found: int = 0
    _reported: float = field(default_factory=time.monotonic, repr=False)

    def videos(self) -> Iterator[Video]:
        """All videos of the source, in a fixed order, without holding them in memory.

        Raises:
            UsageError: the source does not exist or cannot be read, or a manifest is malformed.
        """
        location = Location.of(self.source)
        lowered = location.uri.lower()
        if lowered.endswith(MANIFEST_EXTENSIONS):
            return self._counted(manifest_videos(location))
        if location.is_s3:
            return self._counted(self._objects(location))
        if os.path.isdir(location.uri):
            return self._counted(self._files(location.uri))
        if os.path.exists(location.uri):
            name = os.path.basename(location.uri)
            return self._counted(iter([_file(location.uri, name)]))
        raise UsageError(f"there is no {self.source}")

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

    def _takes(self, name: str) -> bool:
        extension = posixpath.splitext(name)[1].lower()
        if extension in VIDEO_EXTENSIONS:
            return True
        self.skipped[extension or "no extension"] += 1
        self._tick()
        return False

    def _files(self, root: str) -> Iterator[Video]:
        def refuse(error: OSError) -> None:
            raise UsageError(f"cannot list {error.filename}: {error.strerror}") from error

        walked: set[tuple[int, int]] = set()
        for folder, subfolders, names in os.walk(root, onerror=refuse, followlinks=True):
            status = os.stat(folder)
            if (status.st_dev, status.st_ino) in walked:
                subfolders.clear()  # a link back to where we were
                continue
            walked.add((status.st_dev, status.st_ino))
            subfolders.sort()
            for name in sorted(names):
                if self._takes(name):
                    path = os.path.join(folder, name)
                    yield _file(path, os.path.relpath(path, root))

    def _objects(self, location: Location) -> Iterator[Video]:
        bucket, _, prefix = location.uri[len(S3_SCHEME) :].partition("/")
        folder = f"{prefix}/" if prefix else ""
        address = f"{S3_SCHEME}{bucket}/"
        try:
            empty = True
            for entry in _entries(bucket, folder):
                empty = False
                key = entry["Key"]
                if not key.endswith("/") and self._takes(key):
                    yield _object(address, key, key[len(folder) :], entry)
            if empty and prefix:
                # Not a folder then, but perhaps one object.
                first = next(_entries(bucket, prefix), None)
                if first is not None and first["Key"] == prefix and self._takes(prefix):
                    yield _object(address, prefix, posixpath.basename(prefix), first)
        except (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError) as error:
            raise UsageError(f"cannot list {self.source}: {storage_reason(error)}") from error


def _file(path: str, video_id: str) -> Video:
    try:
        size = os.path.getsize(path)
    except OSError:
        size = None
    try:
        path.encode()
        return Video(video_id, path, size)
    except UnicodeEncodeError:
        # Tables hold Unicode. A name that is none is written in the two ways that lose nothing.
        readable = os.fsencode(video_id).decode("utf-8", "backslashreplace")
        return Video(readable, f"file://{quote(os.fsencode(path))}", size)


def _object(address: str, key: str, video_id: str, entry: dict[str, Any]) -> Video:
    return Video(video_id, address + key, entry["Size"], etag=entry.get("ETag"))


def _entries(bucket: str, prefix: str) -> Iterator[dict[str, Any]]:
    """All objects whose keys begin with a prefix, page by page."""
    request = {"Bucket": bucket, "Prefix": prefix}
    patient = None
    try:
        page = s3_client(**_FIRST).list_objects_v2(**request)
    except botocore.exceptions.ClientError as error:
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        code = error.response.get("Error", {}).get("Code", "")
        if status < 500 and status != 429 and code not in _BUSY:
            raise
        patient = s3_client(**_PATIENT)
        page = patient.list_objects_v2(**request)
    while True:
        yield from page.get("Contents", ())
        if not page.get("IsTruncated"):
            return
        patient = patient or s3_client(**_PATIENT)
        token = page["NextContinuationToken"]
        page = patient.list_objects_v2(**request, ContinuationToken=token)
