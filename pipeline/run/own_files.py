"""A file system that refuses to write once a run's OUTPUT was removed or replaced."""

# ruff: noqa: D102 (the methods are those of Arrow's FileSystemHandler, which describes them)

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.fs as pafs

from pipeline.run.run_directory import RunDirectory
from pipeline.storage.proxy_filesystem import Delegating


class OwnFiles(Delegating):
    """The file system of a run's OUTPUT, which refuses to write after OUTPUT was removed or
    replaced.

    Workers write for hours to one path, which may name another folder by then.

    Args:
        run: the run.
        run_id: id of the run; see `RunDirectory.lost`.
    """

    def __init__(self, run: RunDirectory, run_id: str) -> None:
        super().__init__()
        self.protocol = run.root.filesystem()[0].handler.protocol
        self._run = run
        self._run_id = run_id

    def native(self) -> pafs.FileSystem:
        """The plain file system of OUTPUT."""
        return self._run.root.filesystem()[0]

    def create_dir(self, path: str, recursive: bool) -> None:
        self._check()
        super().create_dir(path, recursive)

    def move(self, src: str, dest: str) -> None:
        self._check()
        super().move(src, dest)

    def open_output_stream(self, path: str, metadata: Any) -> pa.NativeFile:
        self._check()
        return super().open_output_stream(path, metadata)

    def _check(self) -> None:
        lost = self._run.lost(self._run_id)
        if lost is not None:
            raise lost
