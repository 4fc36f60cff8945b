"""The run directory: what a run leaves, what binds it to one model and one configuration."""

from __future__ import annotations

import datetime
import json
import platform
import subprocess
import threading
import uuid
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from pipeline.errors import OutputLostError, UsageError
from pipeline.run.differences import differences
from pipeline.storage.location import Location

RUN_VERSION = 1

# The key of an identity by which sweep of several prunings are told from labels of one.
VARIANTS = "variants"

_SAVING = threading.Lock()

_PLACES = ("in the run", "now")

_PACKAGES = ("ray", "torch", "av", "decord", "pyarrow", "numpy", "opencv-python-headless", "boto3")


@dataclass(frozen=True)
class RunDirectory:
    """Names within an output folder, and its run.json.

    Attributes:
        root: the folder.
    """

    root: Location

    @property
    def manifest(self) -> Location:
        """One row per unit of work."""
        return self.root.child("manifest")

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
        """Ids of committed units; the underscore keeps readers of the folder away from it."""
        return self.root.child("_checkpoint")

    @property
    def listed(self) -> Location:
        """What was listed, while it is measured; gone when the manifest is whole."""
        return self.root.child("_listed")

    @property
    def run_json(self) -> Location:
        """Configuration, versions and totals."""
        return self.root.child("run.json")

    @property
    def mark(self) -> Location:
        """The run's identity alone, written before run.json and never again: by it a run tells its
        own OUTPUT from another folder that took the place of it.
        """
        return self.root.child("_run_id")

    @property
    def success(self) -> Location:
        """Written last."""
        return self.root.child("_SUCCESS")

    def exists(self) -> bool:
        """Whether a run was begun here: run.json is written when the manifest is whole."""
        return self.run_json.exists()

    def check_labels(self) -> None:
        """Refuses a folder that holds no labeling run.

        Raises:
            UsageError: the message says what it holds.
        """
        if not self.exists():
            raise UsageError(f"there is no run in {self.root.uri}: it has no run.json")
        if VARIANTS in self.load()["identity"]:
            raise UsageError(f"{self.root.uri} holds sweep of several prunings, and no labels")

    def check_unused(self) -> None:
        """Refuses a folder that holds another's files under the names that a run writes to.

        A manifest of numbered parts alone is what a run leaves that was killed while listing.

        Raises:
            UsageError: the message names what is there.
        """
        taken = [self.units, self.clips, self.videos, self.checkpoint, self.success]
        names = [place.name for place in taken if place.exists()]
        if self.manifest.exists() and not self.manifest.holds_only_parts():
            names.append(self.manifest.name)
        if names:
            raise UsageError(
                f"{self.root.uri} holds {', '.join(names)} and no run.json, so they are not a "
                f"run's; choose an OUTPUT of its own"
            )

    def load(self) -> dict[str, Any]:
        """The content of run.json.

        Raises:
            UsageError: it is not one of ours.
        """
        try:
            loaded = json.loads(self.run_json.read_bytes())
            if not isinstance(loaded["identity"], dict):
                raise TypeError
        except (ValueError, KeyError, TypeError) as error:
            raise UsageError(f"{self.run_json.uri} is not a run.json of this program") from error
        return dict(loaded)

    def create(self, content: dict[str, Any]) -> dict[str, Any]:
        """Writes run.json for the first time, with an identity of the run; returns its content.

        The folder is made where it is not there yet.
        """
        content = {"run_id": uuid.uuid4().hex} | content
        self.mark.write_bytes(content["run_id"].encode())
        self._write(content)
        return content

    def resume(self) -> dict[str, Any]:
        """The content of run.json, for a command that goes on with the run and says so here.

        Raises:
            UsageError: it is not one of ours.
        """
        content = self.load()
        if "run_id" not in content:
            return self.create(content)
        if self.lost(content["run_id"]) is not None:  # the mark alone was deleted
            self.mark.write_bytes(content["run_id"].encode())
        return content

    def save(self, content: dict[str, Any]) -> None:
        """Writes run.json whole; of several threads one after the other.

        Raises:
            OutputLostError: the run of this identity is here no more.
        """
        run_id = content.get("run_id")
        if run_id is not None and (lost := self.lost(run_id)) is not None:
            raise lost
        self._write(content, make_folder=run_id is None)

    def lost(self, run_id: str) -> OutputLostError | None:
        """What is wrong if the run of this identity is here no more; None if it is here, and where
        the storage does not say.
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
        return OutputLostError(f"{self.root.uri} was replaced by another run meanwhile")

    def _write(self, content: dict[str, Any], *, make_folder: bool = True) -> None:
        with _SAVING:
            text = json.dumps(content, indent=2, ensure_ascii=False)
            self.run_json.write_bytes(text.encode() + b"\n", make_folder=make_folder)

    def schema_metadata(self) -> dict[str, str]:
        """What the tables say of the run in their schemas."""
        run = self.load()
        said = {"identity": run["identity"]}
        if "kept_grids" in run["model"]:
            said["kept_grids"] = run["model"]["kept_grids"]
        return {name: json.dumps(value, ensure_ascii=False) for name, value in said.items()}


def check_same(recorded: dict[str, Any], asked: dict[str, Any], where: str) -> None:
    """Refuses to add to a run of another identity.

    Raises:
        UsageError: the message lists every field that differs; of several variants the first.
    """
    there, here = dict(recorded), dict(asked)
    variants: list[str] = []
    if there.get(VARIANTS) and here.get(VARIANTS):
        variants = _differing_variants(there.pop(VARIANTS), here.pop(VARIANTS))
    differing = differences(there, here, places=_PLACES) + variants
    if differing:
        raise UsageError(
            f"{where} belongs to another configuration: {'; '.join(differing)}. "
            f"Choose another output, or the same settings to resume"
        )


def _differing_variants(there: dict[str, Any], here: dict[str, Any]) -> list[str]:
    names = sorted(n for n in there.keys() | here.keys() if there.get(n) != here.get(n))
    if not names:
        return []
    (first, *more), title = names, f"{VARIANTS}.{names[0]}"
    found = differences({title: there.get(first)}, {title: here.get(first)}, places=_PLACES)
    return [*found, f"{len(more)} more of {VARIANTS}"] if more else found


def environment() -> dict[str, Any]:
    """Code and package versions and the machine, for run.json."""
    return {
        "code": code_version(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in _PACKAGES},
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def code_version() -> str:
    """Version of this program: the git commit where there is one, else the package's version."""
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


def now() -> str:
    """The time, in UTC, for run.json."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
