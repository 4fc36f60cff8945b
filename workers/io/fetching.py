"""Opens a video for decoding: a local path, or an object that is fetched whole or by ranges.

Local paths and file:// URIs are opened in place. Objects (s3://, gs://, az://, abfss://, https://)
are downloaded into an anonymous file (in memory if small, else an unlinked temporary file), so that
no file remains if the process dies; or they are read by ranges if a part is enough. Descriptors of
files cannot write. A video that is a range of bytes within a file or object is read as one of its
own.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit

from sta.transport.object_address import is_remote
from sta.transport.objects import open_object
from sta.transport.responses import StoreError
from sta.transport.retry import VIDEOS, Retries
from workers.failures import ErrorType, UnitFailure
from workers.io.content import Content, FileContent, Source, check_size
from workers.io.gzip_part import Excerpt, GzipRange
from workers.io.lance_part import LanceCell
from workers.io.objects import changed_since_listed, check_progress, wait_or_raise
from workers.io.parts import ByteRange, Part, parse
from workers.io.ranged import RangedObject

MEMORY_BYTES = 64 << 20
_SMALL_BYTES = 4 << 20  # a range of so many is fetched at once, though only some may be needed
_COPY_BYTES = 1 << 20
_SEALS = 0x0F  # F_SEAL_SEAL, _SHRINK, _GROW, _WRITE: fcntl names them on Linux alone


@contextmanager
def open_source(
    uri: str,
    *,
    part: str | None = None,
    max_bytes: int = 1 << 62,
    etag: str | None = None,
    seconds: float = VIDEOS.seconds,
    ranged: bool = False,
    private_hosts: bool = False,
) -> Iterator[Source]:
    """Open ``uri`` (a path, file:// or an object) for decoding; raise UnitFailure with the reason.

    ``part``: where the video lies within ``uri``, see `parts`; None if ``uri`` is the video.
    An object is read only if it has the ETag ``etag``, where one is given, and a part of a file
    only if the file has that of `file_etag`; ``seconds`` is what fetching may take in all. With
    ``ranged`` it is fetched piece by piece as it is read, unless its server cannot do that.
    ``private_hosts``: whether https:// may lead to private hosts, see `sta.transport.web`.
    """
    if part is not None:
        fetch = {"etag": etag, "seconds": seconds, "private_hosts": private_hosts}
        with _part(uri, parse(part), max_bytes, fetch, ranged=ranged) as source:
            yield source
        return
    scheme = uri.split("://", 1)[0].lower() if "://" in uri else ""
    if not is_remote(uri):
        if scheme not in ("", "file"):
            raise UnitFailure(
                ErrorType.not_found,
                f"{scheme}:// addresses are not supported; use a path, file://, s3://, gs://, "
                f"az://, abfss:// or https://",
            )
        with _local(file_path(uri) if scheme else uri, max_bytes) as source:
            yield source
        return
    if ranged:
        remote = RangedObject(uri, etag=etag, seconds=seconds, private_hosts=private_hosts)
        if remote.serves_ranges:
            check_size(remote.size, max_bytes)
            yield Source(remote, remote.etag)
            return
    with _fetched(_VideoDownload(uri, max_bytes, etag, seconds, private_hosts)) as source:
        yield source


@contextmanager
def _part(
    uri: str, where: Part, max_bytes: int, fetch: dict[str, Any], *, ranged: bool
) -> Iterator[Source]:
    """A part of a file or object; a range of bytes as a file of its own, unless it is large.

    A decoder's child thus gets a file that holds nothing but its video.
    """
    if isinstance(where, LanceCell):
        with where.open_at(uri, max_bytes=max_bytes) as source:
            yield source
        return
    at_once = where if isinstance(where, ByteRange) else None
    if at_once is not None and ranged and at_once.size > _SMALL_BYTES:
        at_once = None
    if at_once is not None and is_remote(uri):
        check_size(at_once.size, max_bytes)
        with _fetched(_VideoDownload(uri, max_bytes, **fetch, byte_range=at_once)) as source:
            yield source
        return
    if isinstance(where, GzipRange) and is_remote(uri):
        index = _gzip_index(where.index)
        span = where.compressed(index)
        if span is not None:
            check_size(where.size, max_bytes)
            piece_of = ByteRange(span[0], span[1] - span[0])
            with (
                _part(uri, piece_of, 1 << 62, fetch, ranged=False) as piece,
                where.open(
                    Source(Excerpt(piece, span[0], index), piece.etag),
                    max_bytes=max_bytes,
                    index=index,
                ) as source,
                _copied(source) as copy,
            ):
                yield dataclasses.replace(copy, etag=piece.etag, fetched=piece.fetched)
            return
    with open_source(uri, **fetch, ranged=True) as whole:
        found = file_etag(whole.content)
        if None not in (found, fetch["etag"]) and fetch["etag"] != found:
            raise changed_since_listed(UnitFailure(ErrorType.changed, ""))
        if isinstance(where, GzipRange):
            opened = where.open(whole, max_bytes=max_bytes, index=_gzip_index(where.index))
        else:
            opened = where.open(whole, max_bytes=max_bytes)
        with opened as source:
            is_copied = at_once is not None or isinstance(where, GzipRange)
            if is_copied and source.size <= MEMORY_BYTES:
                with _copied(source) as copy:
                    yield dataclasses.replace(copy, etag=source.etag or found)
            else:
                yield dataclasses.replace(source, etag=source.etag or found)


@contextmanager
def _copied(source: Source) -> Iterator[Source]:
    """The bytes of a source as an anonymous file."""
    descriptor = anonymous_file(in_memory=source.size <= MEMORY_BYTES)
    try:
        try:
            for start in range(0, source.size, _COPY_BYTES):
                write_all(descriptor, source.read_at(start, _COPY_BYTES))
        except OSError as error:
            raise _local_failure(error) from None
        if source.failure is not None:
            raise source.failure
        descriptor = read_only(descriptor)
        fetched = source.content.received if source.content.is_remote else None
        yield Source(FileContent(descriptor, source.size), fetched=fetched)
    finally:
        os.close(descriptor)


def _gzip_index(uri: str) -> bytes:
    """The index of a gzip file at an address; none if there is none that can be read."""
    try:
        return _whole(uri) if uri else b""
    except UnitFailure:
        return b""


@lru_cache(maxsize=4)
def _whole(uri: str) -> bytes:
    with open_source(uri) as source:
        return source.read_at(0, source.size)


def file_etag(content: Content) -> str | None:
    """What stands for the ETag of an open file: its size and the time it was written; else None."""
    if not isinstance(content, FileContent):
        return None
    status = os.fstat(content.descriptor)
    return f'"{status.st_size:x}-{status.st_mtime_ns:x}"'


def file_version(uri: str) -> tuple[int, ...]:
    """What changes when the file at ``uri`` is replaced or written to; () for other addresses."""
    scheme = uri.split("://", 1)[0].lower() if "://" in uri else ""
    try:
        status = os.stat(file_path(uri) if scheme == "file" else uri)
    except (OSError, ValueError, UnitFailure):
        return ()
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size


def file_path(uri: str) -> str:
    """The path of a file:// address; raises UnitFailure for one that names a host."""
    parts = urlsplit(uri.replace("?", "%3F").replace("#", "%23"))
    if parts.netloc not in ("", "localhost"):
        raise UnitFailure(ErrorType.not_found, "a file:// address names no host: file:///path")
    return os.fsdecode(unquote_to_bytes(parts.path))  # names need not be UTF-8


@contextmanager
def _local(path: str, max_bytes: int) -> Iterator[Source]:
    absolute = os.path.abspath(path)
    try:
        descriptor = os.open(absolute, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except ValueError as error:
        raise UnitFailure(ErrorType.not_found, f"not a path: {error}") from None
    except OSError as error:
        raise _local_failure(error) from None
    try:
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            raise UnitFailure(ErrorType.not_video, "a directory, not a file")
        if not stat.S_ISREG(status.st_mode):
            raise UnitFailure(ErrorType.not_video, "a pipe, socket or device, not a file")
        check_size(status.st_size, max_bytes)
        yield Source(FileContent(descriptor, status.st_size))
    finally:
        os.close(descriptor)


def _local_failure(error: OSError) -> UnitFailure:
    if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP):
        return UnitFailure(ErrorType.not_found, "no such file")
    if error.errno in (errno.EACCES, errno.EPERM):
        return UnitFailure(ErrorType.forbidden, "no permission to read the file")
    if error.errno == errno.EISDIR:
        return UnitFailure(ErrorType.not_video, "a directory, not a file")
    if error.errno == errno.ENXIO:
        return UnitFailure(ErrorType.not_video, "a pipe, socket or device, not a file")
    return UnitFailure(
        ErrorType.unavailable, f"the file could not be read: {error.strerror or 'unknown error'}"
    )


@contextmanager
def _fetched(download: _VideoDownload) -> Iterator[Source]:
    try:
        descriptor = download.run()
        yield Source(FileContent(descriptor, download.size), download.etag, download.received)
    except UnitFailure as failure:
        failure.bytes_read = failure.bytes_read or download.received
        raise
    finally:
        download.close()


class _VideoDownload:
    """Download of one object into an anonymous file, resumed after broken connections."""

    def __init__(
        self,
        uri: str,
        max_bytes: int,
        etag: str | None,
        seconds: float,
        private_hosts: bool,
        byte_range: ByteRange | None = None,
    ) -> None:
        self.size = 0
        self._object_bytes = 0
        self.received = 0
        self.etag = etag
        self._uri = uri
        self._private_hosts = private_hosts
        self._max_bytes = max_bytes
        self._range = byte_range
        self._retries = Retries(dataclasses.replace(VIDEOS, seconds=seconds))
        self._written = 0
        self._descriptor = -1

    def run(self) -> int:
        """The descriptor of the filled file; raises UnitFailure."""
        with self._retries.running():
            while True:
                try:
                    self._read_on()
                    self._descriptor = read_only(self._descriptor)
                    return self._descriptor
                except Exception as error:
                    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
                        raise _no_room(self.size) from None
                    try:
                        wait_or_raise(self._retries, error)
                    except UnitFailure as failure:
                        raise failure if self._written else changed_since_listed(failure) from None

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _read_on(self) -> None:
        first = 0 if self._range is None else self._range.offset
        response = open_object(
            self._uri,
            start=first + self._written,
            end=None if self._range is None else first + self._range.size,
            etag=self.etag,
            policy=self._retries.policy,
            private_hosts=self._private_hosts,
        )
        try:
            if self._range is not None and response.start != first + self._written:
                raise UnitFailure(ErrorType.internal, "the server serves no ranges")
            if not self._written:
                self._start(response.size, response.etag)
            elif response.size != self._object_bytes or (response.etag or None) != self.etag:
                raise StoreError("the object was replaced while it was being read", "changed")
            elif response.start != first + self._written:
                self._start_over(response.start)
            for chunk in response.chunks:
                self.received += len(chunk)
                self._written += write_all(self._descriptor, chunk)
                check_progress(self._retries, self._written, self.size)
        finally:
            response.close()
        if self._written != self.size:
            raise ConnectionError(f"{self._written} of {self.size} bytes arrived")

    def _start_over(self, at: int) -> None:
        """Go back to the first byte, for a server that cannot send the rest alone."""
        if at:
            raise ConnectionError("the server sent another range than was asked for")
        self._written = 0
        os.ftruncate(self._descriptor, 0)
        os.lseek(self._descriptor, 0, os.SEEK_SET)

    def _start(self, size: int, etag: str | None) -> None:
        self._object_bytes, self.etag = size, etag or None
        if self._range is not None:
            self._range.check_within(size)
            size = self._range.size
        check_size(size, self._max_bytes)
        self.size = size
        if self._descriptor < 0:
            self._descriptor = anonymous_file(in_memory=size <= MEMORY_BYTES)


def anonymous_file(*, in_memory: bool) -> int:
    """Descriptor of an empty file without a name, in memory or in the temporary folder."""
    if in_memory and hasattr(os, "memfd_create"):
        return os.memfd_create("video", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    descriptor, path = tempfile.mkstemp()
    os.unlink(path)
    return descriptor


def read_only(descriptor: int) -> int:
    """A descriptor of the same file that cannot change it; closes the one given.

    Files in memory are sealed. Others are opened again; where the system cannot do that, the
    descriptor stays as it is.
    """
    if hasattr(fcntl, "F_ADD_SEALS"):
        with contextlib.suppress(OSError):  # a file on a disk has no seals
            fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)
            return descriptor
    try:
        reading = os.open(f"/proc/self/fd/{descriptor}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return descriptor
    os.close(descriptor)
    return reading


def write_all(descriptor: int, chunk: bytes) -> int:
    """Writes all bytes; returns how many."""
    view = memoryview(chunk)
    while view:
        view = view[os.write(descriptor, view) :]
    return len(chunk)


def _no_room(size: int) -> UnitFailure:
    """The failure for a full temporary folder."""
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    return UnitFailure(
        ErrorType.internal,
        f"no space left in {folder} for fetching an object of {size:,} bytes ({free:,} free); "
        f"TMPDIR names another folder",
    )
