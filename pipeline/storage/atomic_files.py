"""Local files that appear under their names complete or not at all.

A file is written under a hidden name in its folder, flushed to the disk and then renamed. The
writer holds a lock on it meanwhile, which distinguishes files being written from files that a
killed process left.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import secrets
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pyarrow.fs as pafs

from pipeline.storage.proxy_filesystem import Delegating

_FAILED = "failed_path"

HIDDEN_NAME = re.compile(r"\.writing-[0-9a-f]{16}")

# On a file system without locks, a file of this age counts as left by a killed process.
_STALE_SECONDS = 24 * 3600
_NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL}


class AtomicFiles(Delegating):
    """The local file system, on which files appear complete or not at all.

    A `pyarrow.parquet.ParquetWriter` that is garbage collected closes a file that it opened by
    path, complete or not. So open the file with `open_output_stream`, give the writer this stream,
    and close the stream last.
    """

    protocol = ("file", "local")

    def native(self) -> pafs.FileSystem:
        """Arrow's own local file system."""
        return pafs.LocalFileSystem()

    def open_output_stream(self, path: str, metadata: Any) -> pa.NativeFile:
        """A stream whose file appears when the stream is closed after writes without errors."""
        return pa.PythonFile(AtomicFile(path), mode="w")

    def open_append_stream(self, path: str, metadata: Any) -> pa.NativeFile:
        """Refused: a file that is appended to appears before it is complete."""
        raise OSError(
            errno.EOPNOTSUPP, "files are written as a whole and cannot be appended to", path
        )


class AtomicFile:
    """A file being written.

    `close` renames it to its name. If a write failed, or `close` is called while an exception that
    was raised after the opening is handled (as at the end of a failed `with` block), `close`
    removes the file without another error. A file that is never closed is removed too.

    Raises:
        OSError: by any method, if the disk fails; no file then appears under the name.
    """

    def __init__(self, path: str) -> None:
        self._path = os.fspath(path)
        self._failed = False
        self._passing = sys.exc_info()[1]
        with self._failing():
            self._hidden, descriptor = _create_hidden(os.path.dirname(self._path) or ".")
        self._file = open(descriptor, "wb")  # noqa: SIM115 (closed by close)

    @property
    def closed(self) -> bool:
        """Whether the file is closed for writing."""
        return self._file.closed

    def writable(self) -> bool:
        """Always True."""
        return True

    def tell(self) -> int:
        """Bytes written so far."""
        return self._file.tell()

    def write(self, data: Any) -> int:
        """Writes all of the data."""
        with self._failing():
            return self._file.write(data)

    def flush(self) -> None:
        """Passes written data to the operating system."""
        with self._failing():
            self._file.flush()

    @contextmanager
    def _failing(self) -> Iterator[None]:
        """Records a failure, and adds the path of the file to an OSError."""
        try:
            yield
        except OSError as error:
            self._failed = True
            if error.errno is None:
                raise
            named = OSError(error.errno, error.strerror, self._path)
            named.__dict__[_FAILED] = self._path
            raise named from error
        except BaseException:
            self._failed = True
            raise

    def close(self) -> None:
        """Renames the file to its name, or removes it if it is incomplete."""
        if self.closed:
            return
        passing = sys.exc_info()[1]
        broken_off = passing is not None and passing is not self._passing
        if self._failed or broken_off:
            self.discard()
            return
        try:
            with self._failing():
                self._file.flush()
                os.fsync(self._file.fileno())
                os.replace(self._hidden, self._path)
        except BaseException:
            self.discard()
            raise
        self._file.close()
        _sync_folder(os.path.dirname(self._path) or ".")

    def discard(self) -> None:
        """Removes the file, which never appears."""
        self._failed = True
        with contextlib.suppress(OSError):
            os.unlink(self._hidden)
        with contextlib.suppress(OSError):
            self._file.close()

    def __enter__(self) -> AtomicFile:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is not None:
            self.discard()
        self.close()

    def __del__(self) -> None:
        if hasattr(self, "_file") and not self._file.closed:
            self.discard()


def failed_path(error: OSError) -> str | None:
    """The file that could not be written because of this error; None for other errors.

    Unlike an error's `filename`, it is kept when the error is pickled or its arguments change.
    """
    return error.__dict__.get(_FAILED)


def sweep(folder: str) -> int:
    """Removes hidden files in a folder whose writers no longer run; returns their number.

    Returns 0 if the folder does not exist.
    """
    removed = 0
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            if HIDDEN_NAME.fullmatch(entry.name) and _remove_if_left(entry.path):
                removed += 1
    return removed


def _create_hidden(folder: str) -> tuple[str, int]:
    """A new hidden file, locked: its path and descriptor."""
    while True:
        path = os.path.join(folder, f".writing-{secrets.token_hex(8)}")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            descriptor = os.open(path, flags, 0o666)
        except FileExistsError:
            continue
        if not _lock(descriptor) or _is_at(path, descriptor):
            return path, descriptor
        os.close(descriptor)  # a sweep removed it between its creation and its lock


def _lock(descriptor: int) -> bool:
    """Takes the lock; False if the file system has no locks. A sweep may hold it for a moment."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError as error:
        if error.errno in _NO_LOCKS:
            return False
        raise
    return True


def _is_at(path: str, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _remove_if_left(path: str) -> bool:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    except OSError:
        return False  # renamed by now, or another user's
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        old = time.time() - os.fstat(descriptor).st_mtime > _STALE_SECONDS
        if error.errno not in _NO_LOCKS or not old:
            os.close(descriptor)
            return False
    try:
        os.unlink(path)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


def _sync_folder(folder: str) -> None:
    # Makes the rename durable. If a folder cannot be synced, at least the file's content is.
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
