"""Handlers of Arrow file systems that Ray Data accepts."""

# ruff: noqa: D102 (the methods are those of Arrow's FileSystemHandler, which describes them)

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import pyarrow as pa
import pyarrow.fs as pafs


class RayHandler(pafs.FSSpecHandler):  # type: ignore[misc]
    """Handler of a `pyarrow.fs.PyFileSystem`, of which subclasses write the methods.

    It is an FSSpecHandler because Ray Data accepts no other kind: for any other handler it resolves
    the path again and silently uses a file system of its own. Ray Data reads only `fs.protocol` of
    the handler.
    """

    protocol: tuple[str, ...]

    def __init__(self) -> None:
        # Replaces FSSpecHandler's, which stores a file system of fsspec.
        pass

    @property
    def fs(self) -> RayHandler:
        """The object whose `protocol` Ray Data reads."""
        return self

    def filesystem(self) -> pafs.PyFileSystem:
        """The Arrow file system of this handler; it can be pickled."""
        return pafs.PyFileSystem(self)

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.__dict__ == self.__dict__

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(type(self))

    def get_type_name(self) -> str:
        return self.protocol[0]


class Delegating(RayHandler):
    """A handler that forwards each call to another file system, for subclasses to override some.

    Reads are as fast as the other file system's: Arrow unwraps the opened file.
    """

    @abstractmethod
    def native(self) -> pafs.FileSystem:
        """The file system that does the work."""

    def normalize_path(self, path: str) -> str:
        return str(self.native().normalize_path(path))

    def get_file_info(self, paths: list[str]) -> Any:
        return self.native().get_file_info(paths)

    def get_file_info_selector(self, selector: pafs.FileSelector) -> Any:
        return self.native().get_file_info(selector)

    def create_dir(self, path: str, recursive: bool) -> None:
        self.native().create_dir(path, recursive=recursive)

    def delete_dir(self, path: str) -> None:
        self.native().delete_dir(path)

    def delete_dir_contents(self, path: str, missing_dir_ok: bool = False) -> None:
        self.native().delete_dir_contents(path, missing_dir_ok=missing_dir_ok)

    def delete_root_dir_contents(self) -> None:
        self.native().delete_dir_contents("/", accept_root_dir=True)

    def delete_file(self, path: str) -> None:
        self.native().delete_file(path)

    def move(self, src: str, dest: str) -> None:
        self.native().move(src, dest)

    def copy_file(self, src: str, dest: str) -> None:
        self.native().copy_file(src, dest)

    def open_input_stream(self, path: str) -> pa.NativeFile:
        return self.native().open_input_stream(path, compression=None)

    def open_input_file(self, path: str) -> pa.NativeFile:
        return self.native().open_input_file(path)

    def open_output_stream(self, path: str, metadata: Any) -> pa.NativeFile:
        return self.native().open_output_stream(path, compression=None, metadata=metadata)

    def open_append_stream(self, path: str, metadata: Any) -> pa.NativeFile:
        return self.native().open_append_stream(path, compression=None, metadata=metadata)
