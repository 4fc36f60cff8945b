"""From what a user names to the videos in it: a directory, object storage, one file, a manifest."""

from __future__ import annotations

import csv
import io
import json
import os
import posixpath
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import boto3
import botocore.exceptions
import pyarrow.parquet as pq
from botocore.config import Config

from pipeline.errors import UsageError
from pipeline.storage import S3_SCHEME, Location

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
MANIFEST_EXTENSIONS = (".parquet", ".csv", ".jsonl")

# Adaptive mode slows down when the storage asks for it; a listing waits rather than fails.
_S3 = Config(retries={"mode": "adaptive", "max_attempts": 8}, connect_timeout=10, read_timeout=30)


@dataclass(frozen=True)
class Video:
    """One video of the input.

    Attributes:
        video_id: its identity: the path below the listed folder, or what the manifest says.
        uri: absolute path or s3:// address.
        size_bytes: size as listed, None where a manifest does not tell.
        label: the true label, where a manifest gives one.
    """

    video_id: str
    uri: str
    size_bytes: int | None = None
    label: str | None = None


@dataclass
class Listing:
    """Videos as they are found, and what was passed over on the way.

    Attributes:
        source: what was listed.
        skipped: files that are no videos by their name, counted by extension.
    """

    source: str
    skipped: Counter[str] = field(default_factory=Counter)

    def videos(self) -> Iterator[Video]:
        """All videos of the source, in a fixed order, without holding them in memory.

        Raises:
            UsageError: the source does not exist or cannot be read, or a manifest is malformed.
        """
        location = Location.of(self.source)
        lowered = location.uri.lower()
        if lowered.endswith(MANIFEST_EXTENSIONS):
            return _manifest_videos(location)
        if location.is_s3:
            return self._objects(location)
        if os.path.isdir(location.uri):
            return self._files(location.uri)
        if os.path.exists(location.uri):
            size = os.path.getsize(location.uri)
            return iter([Video(os.path.basename(location.uri), location.uri, size)])
        raise UsageError(f"there is no {self.source}")

    def _takes(self, name: str) -> bool:
        extension = posixpath.splitext(name)[1].lower()
        if extension in VIDEO_EXTENSIONS:
            return True
        self.skipped[extension or "no extension"] += 1
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
                path = os.path.join(folder, name)
                if self._takes(name):
                    try:
                        size = os.path.getsize(path)
                    except OSError:
                        size = None
                    yield Video(os.path.relpath(path, root), path, size)

    def _objects(self, location: Location) -> Iterator[Video]:
        bucket, _, prefix = location.uri[len(S3_SCHEME) :].partition("/")
        folder = f"{prefix}/" if prefix else ""
        try:
            client = boto3.client("s3", config=_S3)
            pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
            for page in pages:
                for entry in page.get("Contents", ()):
                    key = entry["Key"]
                    inside = key.startswith(folder) and not key.endswith("/")
                    if (inside or key == prefix) and self._takes(key):
                        name = key[len(folder) :] if inside else posixpath.basename(key)
                        yield Video(name, f"{S3_SCHEME}{bucket}/{key}", entry["Size"])
        except (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError) as error:
            raise UsageError(f"cannot list {self.source}: {_storage_reason(error)}") from error


def _storage_reason(error: Exception) -> str:
    if isinstance(error, botocore.exceptions.ClientError):
        code = error.response.get("Error", {}).get("Code", "?")
        said = {
            "NoSuchBucket": "there is no such bucket",
            "AccessDenied": "access denied; the credentials in use may not list this bucket",
            "InvalidAccessKeyId": "the storage does not know the access key",
            "SignatureDoesNotMatch": "the secret key does not fit the access key",
        }
        return said.get(code, f"the storage answered {code}")
    if isinstance(error, botocore.exceptions.NoCredentialsError):
        return "no credentials found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or a profile"
    return str(error)


def _manifest_videos(location: Location) -> Iterator[Video]:
    """Videos of a manifest; relative addresses are taken from the manifest's own folder."""
    base = posixpath.dirname(location.uri)
    for number, row in enumerate(_manifest_rows(location), start=1):
        uri = row.get("uri")
        if not isinstance(uri, str) or not uri:
            raise UsageError(f"{location.uri}, row {number}: no uri")
        absolute = uri if "://" in uri or os.path.isabs(uri) else posixpath.join(base, uri)
        label, size = row.get("label"), row.get("size_bytes")
        yield Video(
            video_id=str(row.get("video_id") or uri),
            uri=absolute,
            size_bytes=int(size) if size not in (None, "") else None,
            label=str(label) if label not in (None, "") else None,
        )


def _manifest_rows(location: Location) -> Iterator[dict[str, Any]]:
    filesystem, path = location.filesystem()
    try:
        if path.lower().endswith(".parquet"):
            with pq.ParquetFile(path, filesystem=filesystem) as file:
                _need_uri(file.schema_arrow.names, location)
                wanted = {"uri", "video_id", "label", "size_bytes"} & set(file.schema_arrow.names)
                for batch in file.iter_batches(columns=sorted(wanted)):
                    yield from batch.to_pylist()
            return
        with filesystem.open_input_stream(path) as stream:
            text = io.TextIOWrapper(stream, encoding="utf-8-sig", newline="")
            if path.lower().endswith(".csv"):
                rows = csv.DictReader(text)
                _need_uri(rows.fieldnames or [], location)
                yield from rows
                return
            for line in text:
                if line.strip():
                    yield json.loads(line)
    except UsageError:
        raise
    except FileNotFoundError:
        raise UsageError(f"there is no {location.uri}") from None
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UsageError(f"cannot read the manifest {location.uri}: {reason}") from error


def _need_uri(names: Any, location: Location) -> None:
    if "uri" not in names:
        raise UsageError(
            f"{location.uri} has no column uri; it has {', '.join(map(str, names)) or 'none'}"
        )
