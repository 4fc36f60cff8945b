"""Finished runs to compare, as run.json describes them."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.errors import UsageError
from pipeline.prices import Prices
from pipeline.run.devices import device_words, ran_on_gpu
from pipeline.run.differences import differing_fields, shown
from pipeline.run.identity import EarlyExitTerms, Identity
from pipeline.run.run_directory import RunDirectory
from pipeline.run.run_record import Attempt, RunRecord
from pipeline.storage.location import Location
from workers.sampling import Protocol

# Parts of a run's identity that change what its figures mean, and their names.
_COMPARED = {
    "input": "input",
    "limit": "--limit",
    "model": "model weights",
    "head": "head",
    "relabeled": "source of embeddings",
    "protocol": "protocol",
    "decoder": "decoder",
    "decode": "--decode",
    "precision": "precision",
    "shadow_share": "shadow share",
    "early_exit": "early exit",
}


@dataclass(frozen=True)
class ComparedRun:
    """A finished run.

    Attributes:
        name: what the report calls it, unique among the runs.
        directory: where it lies.
        record: of the run.
    """

    name: str
    directory: RunDirectory
    record: RunRecord

    @property
    def uri(self) -> str:
        """Where it lies."""
        return self.directory.root.uri

    @property
    def identity(self) -> Identity:
        """All that decides what a row says."""
        return self.record.identity

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """Every attempt of its command, in order."""
        return self.record.attempts

    @property
    def r(self) -> int:
        """Tokens dropped per frame at the first pruning stage; 0 is the unpruned model."""
        return self.identity.r

    @property
    def is_adaptive(self) -> bool:
        """Whether the run used early exit."""
        return self.identity.early_exit is not None

    @property
    def every_s(self) -> float | None:
        """Seconds from clip to clip with --clip-every; None for whole videos."""
        return self.identity.protocol.every_s

    @property
    def has_segments(self) -> bool:
        """Whether clips of recordings have labels of their own."""
        return self.every_s is not None

    @property
    def labels(self) -> list[str]:
        """Names of the classes."""
        return list(self.record.model.labels)

    def has_classes_of(self, other: ComparedRun) -> bool:
        """Whether labels mean the same; a run with another head may have classes of its own."""
        return self.identity.labels == other.identity.labels

    @property
    def on_gpu(self) -> bool:
        """Whether device time is a GPU's."""
        return any(ran_on_gpu(each) for each in self.attempts)

    @property
    def computing(self) -> float | None:
        """Share of the labelers' clock time in which they had their cores; None on GPUs."""
        label = (self.record.finished_totals.stages or {}).get("label")
        cores = self.attempts[-1].labeler_cpus
        if self.on_gpu or not label or not label["busy_s"] or not cores:
            return None
        return float(label["cpu_s"] / (label["busy_s"] * cores))

    @property
    def prices(self) -> Prices | None:
        """The prices that the labeling command was given."""
        return self.record.prices

    @property
    def pruning(self) -> str:
        """The pruning in words, such as `r = 22`, and whether it used early exit."""
        words = f"r = {self.r}" if self.r else "unpruned"
        return f"{words}, early exit" if self.is_adaptive else words


def open_runs(names: Sequence[str]) -> list[ComparedRun]:
    """The runs in the order named, checked for being finished and comparable.

    Raises:
        UsageError: too few, the same twice, none there, not finished, or of different classes.
    """
    if len(names) < 2:
        raise UsageError(
            "a comparison needs two runs or more; name their OUTPUT folders, or no RUN to compare "
            "the demo runs"
        )
    places = [Location.of(name) for name in names]
    resolved = [place.resolved() for place in places]
    for place in places:
        if resolved.count(place.resolved()) > 1:
            raise UsageError(f"{place.uri} is named twice; a run cannot be compared with itself")
    titles = _short_names([place.uri for place in places])
    runs = [_opened(place, title) for place, title in zip(places, titles, strict=True)]
    for run in runs[1:]:
        heads = run.identity.head or runs[0].identity.head
        if run.identity.labels != runs[0].identity.labels and not heads:
            raise UsageError(
                f"{run.uri} has other classes than {runs[0].uri} (identity.labels in run.json), so "
                f"their labels cannot be compared"
            )
    return runs


def _opened(place: Location, name: str) -> ComparedRun:
    directory = RunDirectory(place)
    directory.check_labels()
    if not directory.success.exists():
        raise UsageError(
            f"the run in {place.uri} is not finished (it has no _SUCCESS); run its labeling "
            f"command again to finish it"
        )
    run = ComparedRun(name, directory, directory.load())
    if not run.attempts:
        raise UsageError(f"{directory.run_json.uri} names no attempt of the labeling command")
    return run


def reference_of(runs: Sequence[ComparedRun]) -> ComparedRun:
    """The first unpruned run, else the first; runs without early exit go first."""
    full = [run for run in runs if not run.is_adaptive] or runs
    return next((run for run in full if run.r == 0), full[0])


def differences(runs: Sequence[ComparedRun]) -> list[str]:
    """What differs between the runs besides their pruning, one sentence each."""
    notes = []
    for key, what in _COMPARED.items():
        values = [getattr(run.identity, key) for run in runs]
        if any(value != values[0] for value in values[1:]):
            words = [_shown(run, key) for run in runs]
            if len(set(words)) == 1:
                words = differing_fields([run.identity.to_json().get(key) for run in runs])
            said = "; ".join(f"{run.name}: {each}" for run, each in zip(runs, words, strict=True))
            notes.append(f"The runs differ in their {what} ({said}).")
    devices = [_device(run) for run in runs]
    if len(set(devices)) > 1:
        said = "; ".join(f"{run.name}: {device}" for run, device in zip(runs, devices, strict=True))
        notes.append(f"Times were taken on different machines and compare only so far ({said}).")
    return notes


def _shown(run: ComparedRun, key: str) -> str:
    value = getattr(run.identity, key)
    if isinstance(value, Protocol):
        every = f" every {value.every_s:g} s" if value.every_s is not None else ""
        return f"{value.name} {value.clips}x{value.crops}{every}"
    if isinstance(value, EarlyExitTerms):
        return f"{100 * value.agreement:g} % agreement guaranteed"
    return "none" if value in (None, 0.0, "") else shown(value)


def _device(run: ComparedRun) -> str:
    return device_words(run.record) or "not known"


def _short_names(uris: Sequence[str]) -> list[str]:
    """The last parts of the addresses, as many as tell them apart."""
    parts = [uri.strip("/").split("/") for uri in uris]
    for length in range(1, max(map(len, parts)) + 1):
        names = [posixpath.join(*part[-length:]) for part in parts]
        if len(set(names)) == len(names):
            return names
    return list(uris)
