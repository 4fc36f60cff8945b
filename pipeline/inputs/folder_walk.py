"""Walks a local folder: each file once, links within bounds, and no entry that can stop it."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from pipeline.errors import UsageError
from pipeline.inputs.left_out import LINK_LOOPS, LINKS_OUT, LINKS_TWICE, SPECIAL, UNREADABLE
from pipeline.inputs.video_names import left_out_folder, left_out_path


class FoundFile(NamedTuple):
    """A file: its path, its path below the folder, and its size; None if that is not known."""

    path: str
    below: str
    size_bytes: int | None


class _Folder(NamedTuple):
    """A folder to walk; `real` is its path without links if a link leads to it, else None."""

    path: str
    below: str
    real: str | None = None


@dataclass
class FolderWalk:
    """The files below a folder, in a fixed order: those of a folder by name, then its subfolders.

    A link within the folder to what is listed under its own name is left out, so that each file is
    listed once. A link that leads out of the folder is left out too, unless `follow_links`; what
    several links lead to is then listed under the first.

    Attributes:
        root: absolute path of the folder.
        skip: called with the reason and the path below the folder of what is left out.
        takes: whether a file is listed, by its path below the folder.
        follow_links: whether links may lead out of the folder.
    """

    root: str
    skip: Callable[[str, str], None]
    takes: Callable[[str], bool]
    follow_links: bool = False
    _seen: set[str] = field(default_factory=set)
    _real_root: str = ""

    def files(self) -> Iterator[FoundFile]:
        """Yields the files.

        Raises:
            UsageError: the folder itself cannot be read.
        """
        self._real_root = os.path.realpath(self.root)
        pending = [_Folder(self.root, "")]
        while pending:
            folder = pending.pop()
            try:
                with os.scandir(folder.path) as found:
                    entries = sorted(found, key=lambda entry: entry.name)
            except OSError as error:
                if folder.path == self.root:
                    raise UsageError(f"cannot list {self.root}: {error.strerror}") from error
                self.skip(UNREADABLE, folder.below)
                continue
            subfolders: list[_Folder] = []
            for entry in entries:
                yield from self._entry(entry, folder, subfolders)
            pending += reversed(subfolders)

    def _entry(
        self, entry: os.DirEntry[str], folder: _Folder, subfolders: list[_Folder]
    ) -> Iterator[FoundFile]:
        """The file that an entry is, if any; adds the folder that it is to `subfolders`."""
        below = f"{folder.below}/{entry.name}" if folder.below else entry.name
        real = None if folder.real is None else f"{folder.real.rstrip('/')}/{entry.name}"
        try:
            status: os.stat_result | None = entry.stat(follow_symlinks=False)
        except OSError:
            # The folder can be listed and not searched, which the row of a file says.
            status = None
            if not _is_file(entry):
                self.skip(UNREADABLE, below)
                return
        if status is not None and stat.S_ISLNK(status.st_mode):
            target = self._target(entry.path, below)
            if target is None:
                return
            real, status = target
        is_folder = status is not None and stat.S_ISDIR(status.st_mode)
        if is_folder and (reason := left_out_folder(entry.name)) is not None:
            self.skip(reason, below)
        elif real is not None and not self._is_new(real, is_folder=is_folder):
            self.skip(LINKS_TWICE, below)
        elif is_folder:
            subfolders.append(_Folder(entry.path, below, real))
        elif status is not None and not stat.S_ISREG(status.st_mode):
            self.skip(SPECIAL, below)
        else:
            yield FoundFile(entry.path, below, None if status is None else status.st_size)

    def _target(self, path: str, below: str) -> tuple[str, os.stat_result | None] | None:
        """What a link leads to and its status, None if nothing is there; None to leave it out."""
        try:
            real, status = os.path.realpath(path), None
        except OSError:
            self.skip(UNREADABLE, below)
            return None
        if self._own(real) is None and not self.follow_links:
            self.skip(LINKS_OUT, below)
            return None
        try:
            status = os.stat(path)
        except OSError as error:
            if error.errno == errno.ELOOP:
                self.skip(LINK_LOOPS, below)
                return None
        return real, status

    def _own(self, real: str) -> list[str] | None:
        """The parts of a path without links below the folder; None if it is not in the folder."""
        if real == self._real_root:
            return []
        prefix = f"{self._real_root.rstrip('/')}/"
        return real[len(prefix) :].split("/") if real.startswith(prefix) else None

    def _is_new(self, real: str, *, is_folder: bool) -> bool:
        """Whether what a link leads to is not listed under its own name or by an earlier link."""
        own = self._own(real)
        if own is not None:
            folders = own if is_folder else own[:-1]
            is_walked = left_out_path(folders) is None
            if is_walked and (is_folder or self.takes("/".join(own))):
                # A link to nothing has no other name.
                return not os.path.lexists(real)
        if real in self._seen:
            return False
        self._seen.add(real)
        return True


def _is_file(entry: os.DirEntry[str]) -> bool:
    """Whether an entry that has no status is a file, as far as its folder says."""
    try:
        return entry.is_file(follow_symlinks=False)
    except OSError:
        return False
