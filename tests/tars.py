"""Tar archives as the tools of the field write them."""

from __future__ import annotations

import io
import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path

PYTHON_FORMATS = {
    "ustar": tarfile.USTAR_FORMAT,
    "gnu": tarfile.GNU_FORMAT,
    "pax": tarfile.PAX_FORMAT,
}
GNU_FORMATS = ("v7", "oldgnu", "gnu", "ustar", "posix")


def by_python(path: Path, contents: Mapping[str, bytes], kind: int = tarfile.PAX_FORMAT) -> Path:
    """An archive by Python's tarfile, in one of its formats."""
    with tarfile.open(path, "w", format=kind) as archive:
        for name, content in contents.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def by_gnu(path: Path, contents: Mapping[str, bytes], kind: str, *more: str) -> Path:
    """An archive by GNU tar, of the files in a folder."""
    folder = path.with_suffix(".files")
    for name, content in contents.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    command = ["tar", f"--format={kind}", *more, "-C", str(folder), "-cf", str(path), *contents]
    subprocess.run(command, check=True, capture_output=True)
    return path


def by_webdataset(path: Path, samples: Mapping[str, Mapping[str, object]]) -> Path:
    """A shard by WebDataset's TarWriter."""
    from webdataset import TarWriter

    with TarWriter(str(path)) as writer:
        for key, sample in samples.items():
            writer.write({"__key__": key, **sample})
    return path
