"""Downloads into a cache, once per object and machine, resumed after interruptions.

The cache is the folder `checkpoints` under `STA_CACHE`, else under `XDG_CACHE_HOME/sta`, else
under `~/.cache/sta`. A file in it is always complete: it is renamed after its last byte. Processes
that need the same object wait for the one that downloads it. An object that says to be larger than
`MAX_DOWNLOAD_BYTES` is refused before its first byte, and no download takes more bytes than the
server announced.
"""

from __future__ import annotations

import dataclasses
import errno
import fcntl
import hashlib
import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sta.checkpoints.limits import MAX_DOWNLOAD_BYTES
from sta.checkpoints.remote import ChangedError, Remote, TransientError
from sta.errors import CheckpointError
from sta.text import displayed
from sta.transport.responses import ObjectResponse
from sta.transport.retry import CHECKPOINTS, Retries, RetryPolicy


def download_policy() -> RetryPolicy:
    """`CHECKPOINTS`, with the time limit of `STA_DOWNLOAD_SECONDS` if it is set.

    Raises:
        CheckpointError: the variable holds no positive number.
    """
    value = os.environ.get("STA_DOWNLOAD_SECONDS")
    if value is None:
        return CHECKPOINTS
    try:
        return dataclasses.replace(CHECKPOINTS, seconds=float(value))
    except ValueError:
        raise CheckpointError(
            f"STA_DOWNLOAD_SECONDS must be a number of seconds above 0; got {value!r}"
        ) from None


def cache_folder() -> Path:
    """Where downloads are kept; it need not exist."""
    if own := os.environ.get("STA_CACHE"):
        return Path(own).expanduser() / "checkpoints"
    shared = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(shared).expanduser() / "sta" / "checkpoints"


def check_size(size: int, shown: str) -> None:
    """Raise CheckpointError for an object that is larger than any checkpoint."""
    if size > MAX_DOWNLOAD_BYTES:
        raise CheckpointError(
            f"{shown} has {size:,} bytes, and downloads end at {MAX_DOWNLOAD_BYTES:,}, which no "
            "supported checkpoint has; if the address is correct, name a local copy"
        )


def fetch(source: Remote, policy: RetryPolicy | None = None) -> Path:
    """Path of a local file with the object's bytes, from the cache or downloaded.

    The server is asked for the object's version each time: a replaced object is downloaded again.
    An object without a version (neither ETag nor modification time) is downloaded each time.

    Args:
        source: the object.
        policy: how long to retry; `download_policy()` if not given.

    Raises:
        CheckpointError: the download fails by the policy, or the cache cannot be written.
    """
    retries = Retries(policy or download_policy())
    folder = cache_folder()
    download = None
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with retries.running(), _lock(folder / f"{source.identity}.lock", source, retries):
            download = _CachedDownload(source, folder, retries)
            return download.run()
    except OSError as error:
        reason = f": {error.strerror}"
        if error.errno == errno.ENOSPC:
            needed = f"; {download.size:,} are needed" if download else ""
            reason = f" (no space left: {_free(folder):,} bytes are free{needed})"
        raise CheckpointError(
            f"cannot keep {source.shown} in the cache {folder}{reason}; STA_CACHE names another "
            "folder"
        ) from error


def _free(folder: Path) -> int:
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


@contextmanager
def _lock(path: Path, source: Remote, retries: Retries) -> Iterator[None]:
    """Holds a file lock, so that only one process downloads an object."""
    with path.open("w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if retries.remaining_s < 0:
                    raise CheckpointError(
                        f"another process has been downloading {source.shown} for "
                        f"{retries.policy.seconds:.0f} s"
                    ) from None
                time.sleep(0.1)
        yield


class _CachedDownload:
    """Download of one object into the cache, by the process that holds its lock."""

    def __init__(self, source: Remote, folder: Path, retries: Retries) -> None:
        self.source = source
        self.folder = folder
        self.retries = retries
        self.arrived = self.size = 0
        self.version = ""

    def run(self) -> Path:
        while True:
            before = self.arrived
            try:
                return self._attempt()
            except ChangedError:
                self._forget()
                reason = "it keeps changing"
            except TransientError as error:
                if self.arrived > before:
                    self.retries.progressed()
                reason = str(error)
            if not self.retries.wait():
                over = self.retries.remaining_s <= 0
                raise self._given_up(f"{self._time_limit()}; {reason}" if over else reason)

    def _time_limit(self) -> str:
        return f"{self.retries.policy.seconds:.0f} s have passed"

    def _given_up(self, reason: str) -> CheckpointError:
        kept = self.arrived if self.version else 0
        hint = f" ({kept:,} bytes are kept; the next attempt goes on from there)" if kept else ""
        return CheckpointError(f"cannot download {self.source.shown}: {reason}{hint}")

    def _forget(self, but: Path | None = None) -> None:
        """Removes partial downloads of other versions of the object."""
        for partial in self.folder.glob(f"{self.source.identity}-*.partial"):
            if partial != but:
                partial.unlink()

    def _attempt(self) -> Path:
        opened = self.source.open(0, "")
        self.version, self.size = opened.etag or "", opened.size
        with closing(opened):
            check_size(opened.size, self.source.shown)
            whole, partial = self._paths(opened)
            if opened.etag and whole.is_file() and whole.stat().st_size == opened.size:
                return whole
            have = partial.stat().st_size if opened.etag and partial.is_file() else 0
            if not 0 < have <= opened.size:
                self._write(opened, partial)
        if 0 < have < opened.size:
            self._resume(have, opened, partial)
        self._finish(partial, whole, opened.size)
        return whole

    def _paths(self, opened: ObjectResponse) -> tuple[Path, Path]:
        version = hashlib.sha256(f"{opened.etag or ''} {opened.size}".encode()).hexdigest()[:16]
        stem = f"{self.source.identity}-{version}"
        return self.folder / stem, self.folder / f"{stem}.partial"

    def _resume(self, have: int, first: ObjectResponse, partial: Path) -> None:
        rest = self.source.open(have, first.etag or "")
        with closing(rest):
            # A changed object, or a server without ranges, sends the object from its first byte.
            if (rest.etag, rest.size) != (first.etag, first.size):
                raise ChangedError
            if rest.start not in (0, have):
                raise TransientError("the server sent another range than was asked for")
            self._write(rest, partial)

    def _write(self, opened: ObjectResponse, partial: Path) -> None:
        self._forget(but=partial)
        done = opened.start
        progress = _Progress(self.source.shown, opened.size)
        with partial.open("r+b" if done else "wb") as file, closing(progress):
            file.truncate(done)
            file.seek(done)
            for chunk in opened.chunks:
                file.write(chunk)
                done += len(chunk)
                self.arrived = max(self.arrived, done)
                progress.show(done)
                if done > opened.size:
                    break
                if done < opened.size and self.retries.remaining_s < 0:
                    raise self._given_up(self._time_limit())
        if done > opened.size:
            partial.unlink()
            raise TransientError(f"more than the {opened.size:,} bytes that were announced came")
        if done < opened.size:
            raise TransientError(f"{done:,} of {opened.size:,} bytes came")

    def _finish(self, partial: Path, whole: Path, size: int) -> None:
        with partial.open("rb") as file:
            os.fsync(file.fileno())
            if os.fstat(file.fileno()).st_size != size:
                raise TransientError(f"the file is not {size:,} bytes long")
        partial.replace(whole)


class _Progress:
    """A progress line on stderr, if stderr is a terminal."""

    def __init__(self, name: str, size: int) -> None:
        self._name = displayed(name.rpartition("/")[2] or name)
        self._size = size
        self._shown = -1
        self._on = sys.stderr.isatty()

    def show(self, done: int) -> None:
        percent = 100 * done // max(self._size, 1)
        if self._on and percent != self._shown:
            self._shown = percent
            said = f"{done / 1e6:,.1f} of {self._size / 1e6:,.1f} MB ({percent}%)"
            print(f"\r{self._name}: {said}", end="", file=sys.stderr, flush=True)

    def close(self) -> None:
        if self._on and self._shown >= 0:
            print(file=sys.stderr)
