"""The types of run.json: identity, model, environment, attempts and totals of a run.

Each class is written as a JSON object with the names of its fields. Reading refuses unknown names;
fields with a default may be missing. The record and its identity leave out fields with their
default value, so that a new field of the identity does not make older runs differ.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline.prices import Prices
from pipeline.run.identity import Identity
from pipeline.run.json_fields import read, without_defaults
from pipeline.run.totals import Totals
from sta.models.label_map import LabelMap
from workers.inference.early_exit import EarlyExit

RUN_VERSION = 1


@dataclass(frozen=True)
class Model:
    """The model that labeled.

    Attributes:
        architecture: its name, such as vit_base.
        checkpoint: its source, without secrets.
        labels: names of the classes.
        label_map: which classes of the checkpoint they stand for; None for its own.
        notes: messages of loading the model.
        kept_grids: (temporal positions, rows, columns) of the kept-token map of each stage.
        flops_per_view: multiply-accumulates of a view; of a typical view if they vary by clip.
        flops_per_view_unpruned: multiply-accumulates of a view of the unpruned model.
        flops_vary_by_clip: whether views differ in their FLOPs.
        flops: multiply-accumulates of a view by variant, for a sweep.
        license: of the weights, where the checkpoint or its card states one; else "".
        backbone: `sta.heads.backbone_fingerprint`, of a run with embeddings or a head; else "".
        channels: values of an embedding, of such a run; else 0.
        trained_on: videos that the head of the run was trained on, as of `video_digests.py`; "" if
            not known.
    """

    architecture: str
    checkpoint: str
    labels: tuple[str, ...]
    label_map: LabelMap | None = None
    notes: tuple[str, ...] = ()
    kept_grids: tuple[tuple[int, ...], ...] = ()
    flops_per_view: int = 0
    flops_per_view_unpruned: int = 0
    flops_vary_by_clip: bool = False
    flops: Mapping[str, int] = field(default_factory=dict)
    license: str = ""
    backbone: str = ""
    channels: int = 0
    trained_on: str = ""

    @property
    def flops_per_view_of_all(self) -> int:
        """Multiply-accumulates of a view; of a sweep, under all its variants together."""
        return sum(self.flops.values()) or self.flops_per_view


@dataclass(frozen=True)
class Listed:
    """Counts of the listing of the input.

    Attributes:
        videos: videos in the manifest.
        units: units that the videos are divided into.
        skipped: numbers of files and folders that were left out, by kind.
        names: a few names of what was left out and may be a video, by kind.
        labeled_before: videos that were left out since earlier runs labeled them.
        rows: of a list, all rows that were read.
    """

    videos: int = 0
    units: int = 0
    skipped: Mapping[str, int] = field(default_factory=dict)
    names: Mapping[str, Sequence[str]] = field(default_factory=dict)
    labeled_before: int = 0
    rows: int = 0


@dataclass(frozen=True)
class Environment:
    """Versions of the software that made the run.

    Attributes:
        code: version of this program.
        python: version of Python.
        platform: operating system of the driver.
        packages: versions by name; None for packages that are not installed.
    """

    code: str = ""
    python: str = ""
    platform: str = ""
    packages: Mapping[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True)
class ClusterRecord:
    """The cluster of the last attempt.

    Attributes:
        cpu: name of the driver's CPU.
        cpus: cores.
        gpus: GPUs.
        nodes: machines.
        labelers: names of the devices that labelers of all attempts computed on.
    """

    cpu: str
    cpus: float
    gpus: float
    nodes: int
    labelers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Attempt:
    """One attempt: a command that worked on the run, and the resources it reserved.

    Attributes:
        began: begin, UTC.
        ended: end, UTC; None if it was killed or is still running.
        cpus: cores of the cluster, at its largest.
        gpus: GPUs of the cluster.
        nodes: machines of the cluster.
        decoders: largest number of decode actors.
        decoder_cpus: cores of each decode actor.
        labelers: number of label actors.
        labeler_cpus: cores that each label actor computes on; 0 on a GPU.
        labeler_gpus: GPUs of each label actor.
        drivers: number of drivers that shared the actors.
        devices: names of the devices of label actors; empty before their first batch.
        missing_sandbox: parts of the decoders' sandbox that the kernel of a machine lacks, or that
            a decoder goes without.
        units_before: units that had a row when it began; None until they are counted.
        worst_file_s: the longest that one file can keep decoders by the limits, seconds.
        worst_run_s: the longest that all units can, on all decoders.
    """

    began: datetime.datetime
    ended: datetime.datetime | None
    cpus: float
    gpus: float
    nodes: int
    decoders: int
    decoder_cpus: float
    labelers: int
    labeler_cpus: float
    labeler_gpus: float
    drivers: int = 1
    devices: tuple[str, ...] = ()
    missing_sandbox: tuple[str, ...] = ()
    units_before: int | None = None
    worst_file_s: float | None = None
    worst_run_s: float | None = None


@dataclass(frozen=True)
class StagesRecord:
    """Rates measured by `--decoders auto`.

    Attributes:
        threads: threads of each labeler during the measurement; None on GPUs.
        stages: `Stages.as_json`.
    """

    threads: int | None
    stages: Mapping[str, Any]


@dataclass(frozen=True)
class SliceRecord:
    """Early exit chosen for a slice of a run with a budget, before its first unit.

    Attributes:
        threshold: as in `EarlyExit`.
        max_views: largest number of evaluated views per video; None for all.
        units: units of the slice.
        calibration: the chosen point of the calibration's curve.
    """

    threshold: float
    max_views: int | None
    units: int
    calibration: Mapping[str, float] = field(default_factory=dict)

    @property
    def early_exit(self) -> EarlyExit:
        """As labelers take it."""
        return EarlyExit(self.threshold, self.max_views)


@dataclass(frozen=True)
class BudgetRecord:
    """The budget of the last attempt, and the early exits chosen for it.

    Attributes:
        flops: multiply-accumulates; None for a budget in money.
        money: amount in the currency of the prices; None for a budget in FLOPs.
        units: units of the run.
        slices: slices whose early exit is chosen, in order.
    """

    flops: float | None
    money: float | None
    units: int
    slices: tuple[SliceRecord, ...] = ()


@dataclass(frozen=True)
class RunRecord:
    """The content of run.json.

    Attributes:
        identity: the settings that determine the rows.
        model: the model that labeled.
        run_id: random id of the run; None before it is first written.
        version: version of this format.
        created: when run.json was first written, UTC, after the first attempt began and listed.
        finished: when the run was finished, UTC; None before that.
        flags: flags of the last command, in the form of a `--config` file.
        listing: counts of the listing of the input.
        environment: versions of the software.
        prices: prices of machines.
        min_agreement: value of --min-agreement, the share of the shadow sample that must have the
            same label both times; below it, a warning is given.
        compare_to: OUTPUT of the run that the report compares this one with, resolved.
        device: the cluster of the last attempt.
        attempts: attempts, in order.
        measured: rates measured by `--decoders auto`.
        budget: the budget of the last attempt.
        sample: of a run that labels a sample alone, the name of its folder in samples/; None for
            all units.
        totals: totals over the tables; None before the run is finished.
    """

    identity: Identity
    model: Model
    run_id: str | None = None
    version: int = RUN_VERSION
    created: datetime.datetime | None = None
    finished: datetime.datetime | None = None
    flags: Mapping[str, Any] = field(default_factory=dict)
    listing: Listed = Listed()
    environment: Environment = Environment()
    prices: Prices | None = None
    min_agreement: float | None = None
    compare_to: str | None = None
    device: ClusterRecord | None = None
    attempts: tuple[Attempt, ...] = ()
    measured: StagesRecord | None = None
    budget: BudgetRecord | None = None
    sample: str | None = None
    totals: Totals | None = None

    @property
    def is_sweep(self) -> bool:
        """Whether this is a sweep: its rows hold predictions of several prunings, not labels."""
        return bool(self.identity.variants)

    @property
    def has_nothing_new(self) -> bool:
        """Whether earlier runs labeled every video of the input, so that this one has none."""
        return bool(self.listing.labeled_before) and not self.listing.videos

    @property
    def finished_totals(self) -> Totals:
        """The totals of a finished run."""
        assert self.totals is not None
        return self.totals

    def to_json(self) -> dict[str, Any]:
        """The JSON object that `from_json` reads."""
        parts = {"identity": self.identity.to_json(), "model": without_defaults(self.model)}
        if self.is_sweep and self.totals is not None:
            parts["totals"] = without_defaults(self.totals)  # a sweep has no other totals
        return {"version": self.version} | without_defaults(self) | parts

    @classmethod
    def from_json(cls, content: Any) -> RunRecord:
        """The record that `to_json` wrote.

        Raises:
            ValueError: a field is wrong; the message names it.
        """
        record = read(cls, content, "")
        assert isinstance(record, RunRecord)
        return record
