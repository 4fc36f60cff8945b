"""The run directory: paths of its tables and files, and reading and writing of run.json."""

from __future__ import annotations

import datetime
import json
import platform
import subprocess
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path

from pipeline.errors import OutputLostError, UsageError
from pipeline.formatting import json_text
from pipeline.run.differences import differences
from pipeline.run.identity import Identity
from pipeline.run.run_record import Environment, RunRecord
from pipeline.storage.location import Location

_VARIANTS = "variants"
_PLACES = ("in the run", "now")

_PACKAGES = (
    "ray",
    "torch",
    "av",
    "decord",
    "pyarrow",
    "numpy",
    "opencv-python-headless",
    "obstore",
    "boto3",
)


@dataclass(frozen=True)
class RunDirectory:
    """Paths in an OUTPUT folder, and its run.json.

    Attributes:
        root: the OUTPUT folder.
    """

    root: Location

    @property
    def manifest(self) -> Location:
        """One row per unit of work."""
        return self.root.child("manifest")

    @property
    def samples(self) -> Location:
        """Folders with the rows of the manifest that a run of a sample labels."""
        return self.root.child("samples")

    @property
    def gzip_indexes(self) -> Location:
        """Indexes of gzipped archives of the input, by which decoders find their members."""
        return self.root.child("indexes")

    @property
    def units(self) -> Location:
        """One row per unit, written once; what resuming reads."""
        return self.root.child("units")

    @property
    def clips(self) -> Location:
        """One row per view."""
        return self.root.child("clips")

    @property
    def videos(self) -> Location:
        """One row per video."""
        return self.root.child("videos")

    @property
    def checkpoint(self) -> Location:
        """Ids of committed units; readers of Parquet folders skip names with an underscore."""
        return self.root.child("_checkpoint")

    @property
    def listed(self) -> Location:
        """The listing while durations are measured; deleted when the manifest is complete."""
        return self.root.child("_listed")

    @property
    def run_json(self) -> Location:
        """Configuration, versions and totals."""
        return self.root.child("run.json")

    @property
    def mark(self) -> Location:
        """The run_id, written once, before run.json: a running job compares it to detect that its
        OUTPUT was replaced.
        """
        return self.root.child("_run_id")

    @property
    def success(self) -> Location:
        """Written last."""
        return self.root.child("_SUCCESS")

    def exists(self) -> bool:
        """Whether there is a run: run.json is written after the manifest is complete."""
        return self.run_json.exists()

    def check_labels(self) -> None:
        """Refuses a folder that holds no labeling run.

        Raises:
            UsageError: there is no run, or a sweep.
        """
        if not self.exists():
            raise UsageError(f"there is no run in {self.root.uri}: it has no run.json")
        if self.load().is_sweep:
            raise UsageError(
                f"{self.root.uri} holds a sweep, which has no labels; name a labeling run's OUTPUT"
            )

    def check_unused(self) -> None:
        """Refuses a folder with foreign files under names that a run writes.

        A manifest of only numbered parts is accepted: a run killed while listing leaves it.

        Raises:
            UsageError: there are such files; the message names them.
        """
        taken = [self.units, self.clips, self.videos, self.checkpoint, self.success]
        names = [place.name for place in taken if place.exists()]
        if self.manifest.exists() and not self.manifest.holds_only_parts():
            names.append(self.manifest.name)
        if names:
            raise UsageError(
                f"{self.root.uri} holds {', '.join(names)} but no run.json, so they do not belong "
                f"to a run; choose another OUTPUT"
            )

    def load(self) -> RunRecord:
        """The record in run.json.

        Raises:
            UsageError: run.json was not written by this program.
        """
        try:
            return RunRecord.from_json(json.loads(self.run_json.read_bytes()))
        except (ValueError, UsageError) as error:
            raise UsageError(
                f"{self.run_json.uri} is not a run.json of this program: {error}"
            ) from error

    def create(self, record: RunRecord) -> RunRecord:
        """Writes run.json for the first time and returns the record with its run_id.

        Creates the folder if it is missing.
        """
        run_id = uuid.uuid4().hex
        record = replace(record, run_id=run_id)
        self.mark.write_bytes(run_id.encode())
        self._write(record)
        return record

    def resume(self) -> RunRecord:
        """The record, for a command that resumes the run; writes `_run_id` if it is missing.

        Raises:
            UsageError: run.json was not written by this program.
        """
        record = self.load()
        if record.run_id is None:
            return self.create(record)
        if self.lost(record.run_id) is not None:  # only _run_id was deleted
            self.mark.write_bytes(record.run_id.encode())
        return record

    def save(self, record: RunRecord) -> None:
        """Writes run.json whole.

        Raises:
            OutputLostError: the folder no longer holds the run with this run_id.
        """
        if record.run_id is not None and (lost := self.lost(record.run_id)) is not None:
            raise lost
        self._write(record, make_folder=record.run_id is None)

    def lost(self, run_id: str) -> OutputLostError | None:
        """An error if the folder no longer holds the run with this run_id; None if it does, or if
        the storage cannot be read.
        """
        filesystem, path = self.mark.filesystem()
        try:
            with filesystem.open_input_stream(path) as stream:
                found = stream.read().decode(errors="replace")
        except FileNotFoundError:
            return OutputLostError(
                f"{self.root.uri} was removed, replaced or unmounted while the run wrote to it"
            )
        except OSError:
            return None
        if found == run_id:
            return None
        return OutputLostError(
            f"{self.root.uri} was replaced by another run while this run wrote to it"
        )

    def _write(self, record: RunRecord, *, make_folder: bool = True) -> None:
        text = json_text(record.to_json(), allow_nan=True)
        self.run_json.write_bytes(text.encode(), make_folder=make_folder)

    def schema_metadata(self) -> dict[str, str]:
        """Metadata for the schemas of the run's tables."""
        record = self.load()
        said = {
            "identity": record.identity.to_json(),
            "kept_grids": record.model.kept_grids,
            "embedding": _embedding(record),
        }
        return {
            name: json.dumps(value, ensure_ascii=False) for name, value in said.items() if value
        }


def _embedding(record: RunRecord) -> dict[str, object]:
    """What readers of the embeddings need to know of them; empty if the run stores none."""
    identity, model = record.identity, record.model
    if identity.embeddings is None:
        return {}
    return {
        "model": identity.model,
        "backbone": model.backbone,
        "architecture": model.architecture,
        "channels": model.channels,
        "dtype": "float16",
        "pruning": identity.pruning,
        "precision": identity.precision,
        "normalization": {name: identity.shape.get(name) for name in ("mean", "std")},
        "license": model.license,
    }


class OpenRun:
    """A run that this command works on. Changes of its record are saved at once.

    Several threads may change it.
    """

    def __init__(self, directory: RunDirectory, record: RunRecord) -> None:
        self.directory = directory
        self._record = record
        self._lock = threading.Lock()

    @property
    def record(self) -> RunRecord:
        """The present record."""
        return self._record

    def update(self, change: Callable[[RunRecord], RunRecord]) -> None:
        """Changes the record, and saves it if it differs.

        Raises:
            OutputLostError: the folder no longer holds this run.
        """
        with self._lock:
            changed = change(self._record)
            if changed is not self._record:
                self._record = changed
                self.directory.save(changed)


def check_same(recorded: Identity, asked: Identity, where: str) -> None:
    """Refuses to resume a run with another identity.

    Raises:
        UsageError: the identities differ; the message lists each field that differs, and of the
            variants the first.
    """
    there, here = recorded.to_json(), asked.to_json()
    variants: list[str] = []
    if recorded.variants and asked.variants:
        variants = _differing_variants(there.pop(_VARIANTS), here.pop(_VARIANTS))
    differing = differences(there, here, places=_PLACES) + variants
    if differing:
        raise UsageError(
            f"{where} belongs to another configuration: {'; '.join(differing)}. "
            f"Choose another OUTPUT, or use the same settings to resume"
        )


def _differing_variants(there: dict[str, object], here: dict[str, object]) -> list[str]:
    names = sorted(n for n in there.keys() | here.keys() if there.get(n) != here.get(n))
    if not names:
        return []
    (first, *more), title = names, f"{_VARIANTS}.{names[0]}"
    found = differences({title: there.get(first)}, {title: here.get(first)}, places=_PLACES)
    return [*found, f"{len(more)} more of {_VARIANTS}"] if more else found


def environment() -> Environment:
    """Versions of code and packages, and the platform, for run.json."""
    return Environment(
        code=code_version(),
        python=platform.python_version(),
        platform=platform.platform(),
        packages={name: _version(name) for name in _PACKAGES},
    )


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def code_version() -> str:
    """Version of this program: the git commit if there is one, else the package's version."""
    root = Path(__file__).parents[2]
    try:
        commit = subprocess.run(
            ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
        return commit.stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return _version("sta-video-labeling") or "unknown"


def now() -> datetime.datetime:
    """The present time in UTC, in whole seconds."""
    return datetime.datetime.now(datetime.UTC).replace(microsecond=0)
