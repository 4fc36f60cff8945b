"""A local path or s3:// address, with the same methods to read, write, list and delete."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
import posixpath
import re
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import botocore.exceptions
import pyarrow.fs as pafs

from pipeline.errors import UsageError
from pipeline.storage.addresses import S3_SCHEME, normalized
from pipeline.storage.atomic_files import HIDDEN_NAME, AtomicFile, AtomicFiles, sweep
from pipeline.storage.s3_filesystem import s3_client, s3_filesystem, storage_reason
from sta.retry import RUN_FILES
from sta.text import holds_secret

BOTO_ERRORS = (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError)

# Attempts to read a response; the client's own retries do not cover its content.
_READS = 5
_CUT_OFF = (
    botocore.exceptions.IncompleteReadError,
    botocore.exceptions.ReadTimeoutError,
    botocore.exceptions.ResponseStreamingError,
)

_PART = re.compile(r"part-\d{5}\.parquet")


@dataclass(frozen=True)
class Location:
    """A file or folder: an absolute local path, or s3://bucket/prefix without a slash at the end.

    Credentials, region and endpoint come from the usual AWS_* environment and profile.
    """

    uri: str

    @classmethod
    def of(cls, text: str) -> Location:
        """The location of a path or address that a user gave.

        Raises:
            UsageError: an s3:// address without a bucket or with credentials, or another scheme.
        """
        if not text:
            raise UsageError("the path or address is empty; is a shell variable not set?")
        if holds_secret(text):
            raise UsageError(
                "an address must not contain credentials or a signature, since addresses are "
                "written to logs and tables; name s3://bucket/prefix and set "
                "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE or a role"
            )
        try:
            place = normalized(text)
        except ValueError as error:
            raise UsageError(f"{text}: {error}") from None
        if place.startswith(S3_SCHEME):
            cleaned = place.rstrip("/")
            if len(cleaned) <= len(S3_SCHEME):
                raise UsageError(f"{text} names no bucket; write s3://bucket/prefix")
            return cls(cleaned)
        return cls(str(Path(place).absolute()))

    def resolved(self) -> Location:
        """The location without links and `..`, for comparisons."""
        return self if self.is_s3 else Location(os.path.realpath(self.uri))

    @property
    def is_s3(self) -> bool:
        """Whether this is object storage."""
        return self.uri.startswith(S3_SCHEME)

    def child(self, name: str) -> Location:
        """A folder or file below this one."""
        return Location(posixpath.join(self.uri, name))

    def filesystem(self) -> tuple[pafs.FileSystem, str]:
        """The Arrow file system and the path within it, for reading and for writing.

        A file appears when it is closed, complete; in object storage that is always so.
        """
        if not self.is_s3:
            return AtomicFiles().filesystem(), self.uri
        path = self.uri.removeprefix(S3_SCHEME)
        return s3_filesystem(path.partition("/")[0]), path

    @property
    def name(self) -> str:
        """The last part of the address."""
        return posixpath.basename(self.uri)

    def holds_only_parts(self) -> bool:
        """Whether this is a folder with only numbered Parquet files, complete or not."""
        filesystem, path = self.filesystem()
        infos = filesystem.get_file_info(pafs.FileSelector(path, allow_not_found=True))
        return all(
            info.type == pafs.FileType.File
            and (_PART.fullmatch(info.base_name) or HIDDEN_NAME.fullmatch(info.base_name))
            for info in infos
        )

    def exists(self) -> bool:
        """Whether there is a file or folder here."""
        with self._reading():
            filesystem, path = self.filesystem()
            return bool(filesystem.get_file_info(path).type != pafs.FileType.NotFound)

    def files(self, suffix: str) -> list[Location]:
        """Files directly below whose name ends in `suffix`, sorted; none if there is no folder."""
        with self._reading():
            filesystem, path = self.filesystem()
            infos = filesystem.get_file_info(pafs.FileSelector(path, allow_not_found=True))
        names = (info.base_name for info in infos if info.type == pafs.FileType.File)
        return [self.child(name) for name in sorted(names) if name.endswith(suffix)]

    def size(self) -> int:
        """Bytes of the files below this folder; 0 if there is none."""
        filesystem, path = self.filesystem()
        infos = filesystem.get_file_info(
            pafs.FileSelector(path, recursive=True, allow_not_found=True)
        )
        return sum(info.size or 0 for info in infos)

    def read_bytes(self) -> bytes:
        """Content of the file, consistent even if others rewrite it meanwhile."""
        with self._reading():
            return _read_object(self.uri) if self.is_s3 else Path(self.uri).read_bytes()

    def read_head(self, count: int) -> bytes:
        """The first `count` bytes of the file, or all of them if it has fewer."""
        with self._reading():
            if self.is_s3:
                return first_bytes_of_objects()(self.uri, count)
            with open(self.uri, "rb") as file:
                return file.read(count)

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Raises errors of reading as OSError, in one line that names the location."""
        try:
            yield
        except FileNotFoundError:
            raise
        except (
            OSError,
            botocore.exceptions.ClientError,
            botocore.exceptions.BotoCoreError,
        ) as error:
            raise OSError(f"cannot read {self.uri}: {storage_reason(error)}") from error

    def write_bytes(self, content: bytes, *, make_folder: bool = True) -> None:
        """Writes the file, which appears complete or not at all.

        Creates the folder if it is missing, unless `make_folder` is False.
        """
        if self.is_s3:
            filesystem, path = self.filesystem()
            with filesystem.open_output_stream(path) as stream:
                stream.write(content)
            return
        if make_folder:
            os.makedirs(os.path.dirname(self.uri), exist_ok=True)
        with AtomicFile(self.uri) as file:
            file.write(content)

    def sweep(self) -> int:
        """Removes incomplete files of killed writers in this local folder; returns their number."""
        return 0 if self.is_s3 else sweep(self.uri)

    def create(self, content: bytes) -> bool:
        """Writes the file unless it exists; of several writers at once, only one gets True.

        Object storage needs conditional writes (If-None-Match), which AWS, Ceph and MinIO have. The
        content must be unique to the caller: it shows whether a retried write, whose first response
        was lost, had succeeded.
        """
        if self.is_s3:
            return _create_object(self.uri, content) or self._holds(content)
        os.makedirs(os.path.dirname(self.uri), exist_ok=True)
        aside = os.path.join(os.path.dirname(self.uri), f".writing-{secrets.token_hex(8)}")
        try:
            Path(aside).write_bytes(content)
            os.link(aside, self.uri)
        except FileExistsError:
            return False
        finally:
            Path(aside).unlink(missing_ok=True)
        return True

    def _holds(self, content: bytes) -> bool:
        try:
            return self.read_bytes() == content
        except FileNotFoundError:
            return False

    def delete(self) -> None:
        """Deletes the file, if it exists."""
        filesystem, path = self.filesystem()
        with contextlib.suppress(FileNotFoundError):
            filesystem.delete_file(path)

    def move(self, to: Location) -> None:
        """Renames the file; in object storage by a copy and a deletion."""
        filesystem, path = self.filesystem()
        filesystem.move(path, to.filesystem()[1])

    def delete_parts(self) -> None:
        """Deletes numbered Parquet files in this folder, complete or not."""
        self.sweep()
        for file in self.files(".parquet"):
            filesystem, path = file.filesystem()
            if _PART.fullmatch(posixpath.basename(path)):
                filesystem.delete_file(path)

    def delete_empty(self) -> None:
        """Deletes the folder if it is empty; object storage has no empty folders."""
        if not self.is_s3:
            with contextlib.suppress(OSError):
                os.rmdir(self.uri)

    def check_writable(self) -> None:
        """Creates the folder and checks that a file can be written to it.

        Raises:
            UsageError: no file can be written.
        """
        probe = self.child(".writable")
        try:
            if not self.is_s3:
                os.makedirs(self.uri, exist_ok=True)
            probe.write_bytes(b"")
            filesystem, path = probe.filesystem()
            filesystem.delete_file(path)
        except OSError as error:
            raise UsageError(f"cannot write to {self.uri}: {storage_reason(error)}") from error


def is_out_of_space(error: BaseException) -> bool:
    """Whether a disk or a quota is full."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def _client_and_place(uri: str) -> tuple[Any, dict[str, str]]:
    """A client with many attempts, and the bucket and key of an address."""
    return _client(), _place(uri)


def _client(**settings: Any) -> Any:
    return s3_client(dataclasses.replace(RUN_FILES, max_failures=9), **settings)


def _place(uri: str) -> dict[str, str]:
    bucket, _, key = uri.removeprefix(S3_SCHEME).partition("/")
    return {"Bucket": bucket, "Key": key}


def _read_object(uri: str) -> bytes:
    """Reads an object in one request. Arrow requests the size first, which may be that of another
    version than the bytes.
    """
    client, place = _client_and_place(uri)
    return _read(client, place, uri)


def _read(client: Any, request: dict[str, str], uri: str) -> bytes:
    def read() -> bytes:
        return bytes(client.get_object(**request)["Body"].read())

    try:
        for _ in range(_READS - 1):
            with contextlib.suppress(*_CUT_OFF):
                return read()
        return read()
    except client.exceptions.NoSuchKey:
        raise FileNotFoundError(uri) from None


def first_bytes_of_objects(*, connections: int = 1) -> Callable[[str, int], bytes]:
    """A function (uri, count) that reads the first bytes of an object; threads share one client.

    It raises FileNotFoundError, and errors of botocore.
    """
    client: Any = None
    lock = threading.Lock()

    def read(uri: str, count: int) -> bytes:
        nonlocal client
        with lock:
            client = client or _client(max_pool_connections=connections)
        try:
            return _read(client, _place(uri) | {"Range": f"bytes=0-{count - 1}"}, uri)
        except botocore.exceptions.ClientError as error:
            if error.response.get("Error", {}).get("Code") == "InvalidRange":
                return b""  # an empty object has no first byte
            raise

    return read


def _create_object(uri: str, content: bytes) -> bool:
    """Writes an object unless it exists; returns whether it was written."""
    client, place = _client_and_place(uri)
    try:
        client.put_object(**place, Body=content, IfNoneMatch="*")
    except botocore.exceptions.ClientError as error:
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        if status in (409, 412):
            return False
        raise OSError(f"cannot write {uri}: {storage_reason(error)}") from error
    except botocore.exceptions.BotoCoreError as error:
        raise OSError(f"cannot write {uri}: {storage_reason(error)}") from error
    return True
