"""Converts a checkpoint to one safetensors file with all that loading needs."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import UsageError
from sta.checkpoints.load import build_model
from sta.checkpoints.read import read_weights
from sta.checkpoints.save import save_checkpoint
from sta.models.base import VideoModel


@dataclass(frozen=True)
class Converted:
    """What a conversion made.

    Attributes:
        dest: the file.
        architecture: name of the model.
        layout: what kind of checkpoint the source was.
        classes: size of the head.
        named: whether the classes have names other than their indices.
        license: of the weights and where it is stated, "" if it is not.
        origin: where the weights came from, without credentials.
        size_bytes: of the file.
    """

    dest: Path
    architecture: str
    layout: str
    classes: int
    named: bool
    license: str
    origin: str
    size_bytes: int

    def line(self) -> str:
        """The conversion in one line."""
        labels = "labels" if self.named else "classes without names (--labels gives them)"
        license = f"; license {self.license}" if self.license else ""
        return (
            f"{self.dest}: {self.architecture}, {self.classes} {labels}, "
            f"{self.size_bytes / 1e6:.1f} MB, from {self.origin} ({self.layout}){license}"
        )


def convert_checkpoint(
    source: str,
    dest: Path,
    *,
    labels: Path | None = None,
    label_map: Path | None = None,
    sha256: str | None = None,
) -> Converted:
    """Writes a checkpoint as float32 safetensors with labels, origin, license and fingerprint.

    The file appears whole under its name or not at all, and never replaces one.

    Args:
        source: whatever `sta.load_model` takes.
        dest: file to write.
        labels: file with class names; replaces the checkpoint's own.
        label_map: file that maps the classes to other labels, one to one.
        sha256: expected SHA-256 of the source's weights.

    Raises:
        UsageError: the file cannot be written there.
        CheckpointError, UnsafePickle: the source cannot be loaded.
    """
    if ":/" in str(dest):
        raise UsageError(f"DEST must be a file on this machine; got {dest}")
    if dest.exists():
        raise UsageError(f"{dest} is there already; name another file or remove it")
    if not dest.parent.is_dir():
        raise UsageError(f"there is no folder {dest.parent} to write {dest.name} to")
    weights = read_weights(source, sha256=sha256)
    model = build_model(weights, labels=labels, label_map=label_map)
    partial = dest.with_name(f".{dest.name}.{os.getpid()}.partial")
    try:
        save_checkpoint(
            model,
            partial,
            labels=model.labels,
            origin=weights.origin,
            license=weights.license,
            source_fingerprint=weights.fingerprint,
        )
        partial.replace(dest)
    except OSError as error:
        raise UsageError(f"cannot write {dest}: {error.strerror or error}") from error
    finally:
        partial.unlink(missing_ok=True)
    return Converted(
        dest=dest,
        architecture=model.architecture,
        layout=weights.layout,
        classes=len(model.labels),
        named=_named(model),
        license=weights.license,
        origin=weights.origin,
        size_bytes=dest.stat().st_size,
    )


def _named(model: VideoModel) -> bool:
    return list(model.labels) != [str(index) for index in range(len(model.labels))]
