"""A local path or an address of a store, with the same methods to read, write, list and delete."""

from __future__ import annotations

import contextlib
import errno
import os
import posixpath
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pyarrow.fs as pafs

from pipeline.errors import UsageError
from pipeline.storage.addresses import normalized
from pipeline.storage.atomic_files import HIDDEN_NAME, AtomicFile, AtomicFiles, sweep
from pipeline.storage.object_files import ObjectFiles
from pipeline.storage.storage_errors import storage_reason
from sta.text import holds_secret
from sta.transport import object_address, objects
from sta.transport.responses import StoreError
from sta.transport.retry import RUN_FILES

_PART = re.compile(r"part-\d{5}\.parquet")


@dataclass(frozen=True)
class Location:
    """A file or folder: an absolute local path, or an address without a slash at the end, such as
    s3://bucket/prefix, gs://bucket/prefix or az://container/prefix.

    An https:// address is a single file that can only be read. Credentials and settings come from
    the usual environment of each store, see README.md.
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
        if object_address.is_remote(place):
            cleaned = place if object_address.is_web(place) else place.rstrip("/")
            scheme, _, rest = cleaned.partition("://")
            if not rest:
                raise UsageError(f"{text} names no bucket; write {scheme}://bucket/prefix")
            return cls(cleaned)
        return cls(str(Path(place).absolute()))

    def resolved(self) -> Location:
        """The location without links and `..`, for comparisons."""
        return self if self.is_remote else Location(os.path.realpath(self.uri))

    @property
    def is_object(self) -> bool:
        """Whether this is object storage, which can be listed and written to."""
        return object_address.is_object(self.uri)

    @property
    def is_remote(self) -> bool:
        """Whether this is no local file or folder."""
        return object_address.is_remote(self.uri)

    def child(self, name: str) -> Location:
        """A folder or file below this one."""
        return Location(posixpath.join(self.uri, name))

    def filesystem(self) -> tuple[pafs.FileSystem, str]:
        """The Arrow file system and the path within it, for reading and for writing.

        A file appears when it is closed, complete; in object storage that is always so.
        """
        if not self.is_remote:
            return AtomicFiles().filesystem(), self.uri
        scheme, _, path = self.uri.partition("://")
        return ObjectFiles(scheme).filesystem(), path

    @property
    def name(self) -> str:
        """The last part of the address."""
        if object_address.is_web(self.uri):
            return posixpath.basename(unquote(urlsplit(self.uri).path))
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
            if self.is_remote:
                return _read(self.uri)
            return Path(self.uri).read_bytes()

    def read_head(self, count: int) -> bytes:
        """The first `count` bytes of the file, or all of them if it has fewer."""
        with self._reading():
            if self.is_remote:
                return _read(self.uri, end=count)
            with open(self.uri, "rb") as file:
                return file.read(count)

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Raises errors of reading as OSError, in one line that names the location."""
        try:
            yield
        except FileNotFoundError:
            raise
        except OSError as error:
            raise OSError(f"cannot read {self.uri}: {storage_reason(error)}") from None

    def write_bytes(self, content: bytes, *, make_folder: bool = True) -> None:
        """Writes the file, which appears complete or not at all.

        Creates the folder if it is missing, unless `make_folder` is False.
        """
        if self.is_object:
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
        return 0 if self.is_object else sweep(self.uri)

    def create(self, content: bytes) -> bool:
        """Writes the file unless it exists; of several writers at once, only one gets True.

        Object storage needs conditional writes (If-None-Match), which AWS, Ceph and MinIO have. The
        content must be unique to the caller: it shows whether a retried write, whose first response
        was lost, had succeeded.
        """
        if self.is_object:
            try:
                created = objects.create_object(self.uri, content, RUN_FILES)
            except StoreError as error:
                raise OSError(f"cannot write {self.uri}: {storage_reason(error)}") from None
            return created or self._holds(content)
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
        if not self.is_object:
            with contextlib.suppress(OSError):
                os.rmdir(self.uri)

    def check_writable(self) -> None:
        """Creates the folder and checks that a file can be written to it.

        Raises:
            UsageError: no file can be written.
        """
        if object_address.is_web(self.uri):
            raise UsageError(
                f"cannot write to {self.uri}: name a directory, or s3://bucket/prefix, gs://, "
                f"az:// or abfss://"
            )
        probe = self.child(".writable")
        try:
            if not self.is_object:
                os.makedirs(self.uri, exist_ok=True)
            probe.write_bytes(b"")
            filesystem, path = probe.filesystem()
            filesystem.delete_file(path)
        except OSError as error:
            raise UsageError(f"cannot write to {self.uri}: {storage_reason(error)}") from None


def is_out_of_space(error: BaseException) -> bool:
    """Whether a disk or a quota is full."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def _read(uri: str, *, end: int | None = None) -> bytes:
    """Bytes of an object, from the first on. Arrow requests the size first, which may be that of
    another version than the bytes.
    """
    try:
        return objects.read_object(uri, end=end, policy=RUN_FILES).data
    except StoreError as error:
        if error.kind == "not_found" and error.code != "NoSuchBucket":
            raise FileNotFoundError(uri) from None
        raise
