"""A directory on local disk or under an s3:// prefix, read and written in the same words."""

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

# What a signed web address carries, of AWS and of others.
_SIGNATURE = re.compile(r"[?&]([\w-]*signature|[\w-]*credential|[\w-]*token|sig)=", re.IGNORECASE)

BOTO_ERRORS = (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError)

# How often a response may break off; the client's own retries end where the content begins.
_READS = 5
_CUT_OFF = (
    botocore.exceptions.IncompleteReadError,
    botocore.exceptions.ReadTimeoutError,
    botocore.exceptions.ResponseStreamingError,
)

_PART = re.compile(r"part-\d{5}\.parquet")


@dataclass(frozen=True)
class Location:
    """A folder: an absolute local path, or s3://bucket/prefix without a slash at the end.

    Credentials, region and endpoint come from the usual AWS_* environment and profile.
    """

    uri: str

    @classmethod
    def of(cls, text: str) -> Location:
        """The location that a user named.

        Raises:
            UsageError: an s3:// address without a bucket or with credentials, or another scheme.
        """
        if not text:
            raise UsageError("an empty name is no place; is a shell variable not set?")
        if carries_credentials(text):
            raise UsageError(
                "an address with credentials or a signature in it is not taken, since addresses "
                "are written into logs and tables; name s3://bucket/prefix and set "
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
        """The same place by its one name: local paths without links and `..`, for comparisons.

        Videos keep the names by which they were listed.
        """
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

        On local disk a file appears when it is closed whole; in object storage that is so anyway.
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
        """Whether this is a folder of nothing but numbered Parquet files, whole or begun."""
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
        """Content of the file here, as it was at one moment, even while others rewrite it."""
        with self._reading():
            return _read_object(self.uri) if self.is_s3 else Path(self.uri).read_bytes()

    def read_head(self, count: int) -> bytes:
        """The first `count` bytes of the file here, fewer where it has fewer."""
        with self._reading():
            if self.is_s3:
                return first_bytes_of_objects()(self.uri, count)
            with open(self.uri, "rb") as file:
                return file.read(count)

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Says of what goes wrong where that was, in one line."""
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
        """Writes the file here whole or not at all, in a folder that is made where there is none,
        unless `make_folder` is False.
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
        """Removes what killed writers left half-written in this local folder; how many files."""
        return 0 if self.is_s3 else sweep(self.uri)

    def create(self, content: bytes) -> bool:
        """Writes the file here unless there is one; of several at once, one alone gets True.

        In object storage this asks for conditional writes (If-None-Match), which AWS, Ceph and
        MinIO have. The content must be the caller's own: by it a write is recognized whose answer
        was lost and which was made again.
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
        """Deletes the file here; none is as good."""
        filesystem, path = self.filesystem()
        with contextlib.suppress(FileNotFoundError):
            filesystem.delete_file(path)

    def move(self, to: Location) -> None:
        """Renames the file here; in object storage a copy, then a deletion."""
        filesystem, path = self.filesystem()
        filesystem.move(path, to.filesystem()[1])

    def delete_parts(self) -> None:
        """Deletes the numbered Parquet files that this program writes here, whole or begun."""
        self.sweep()
        for file in self.files(".parquet"):
            filesystem, path = file.filesystem()
            if _PART.fullmatch(posixpath.basename(path)):
                filesystem.delete_file(path)

    def delete_empty(self) -> None:
        """Deletes the folder here if nothing is in it; object storage has no empty folders."""
        if not self.is_s3:
            with contextlib.suppress(OSError):
                os.rmdir(self.uri)

    def check_writable(self) -> None:
        """Makes the folder and proves that a file can be written to it.

        Raises:
            UsageError: it cannot.
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
    """A client that is patient, and the bucket and key of an address."""
    return _client(), _place(uri)


def _client(**settings: Any) -> Any:
    return s3_client(dataclasses.replace(RUN_FILES, max_failures=9), **settings)


def _place(uri: str) -> dict[str, str]:
    bucket, _, key = uri.removeprefix(S3_SCHEME).partition("/")
    return {"Bucket": bucket, "Key": key}


def _read_object(uri: str) -> bytes:
    """An object, by one request: asking for its size first, as Arrow does, would read the size of
    one version and the bytes of another.
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
    """A function that reads so many first bytes of an object, by one client for all threads.

    It raises FileNotFoundError, and what botocore raises.
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
                return b""  # an object without a byte has no first one
            raise

    return read


def _create_object(uri: str, content: bytes) -> bool:
    """Writes an object unless there is one; whether it was written."""
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


def carries_credentials(address: str) -> bool:
    """Whether an address holds a user, a password or a signature.

    No bucket's name has an @ or a colon in it; a key may well have.
    """
    scheme, mark, rest = address.partition("://")
    if not mark:
        return False
    host = rest.partition("/")[0]
    if scheme.lower() == "s3":
        return "@" in host or ":" in host or "x-amz-signature=" in rest.lower()
    return "@" in host or _SIGNATURE.search(rest) is not None
