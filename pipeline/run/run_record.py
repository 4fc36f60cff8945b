"""run.json as types: what a run was asked for, how it was made, and what it adds up to.

Every class is written as a JSON object with the names of its fields. Reading refuses names that no
field has; fields with a default may be missing. The record and its identity leave out fields that
hold their default, so that an identity grows without making older runs differ.
"""

from __future__ import annotations

import dataclasses
import datetime
import types
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from pipeline.prices import Prices
from pipeline.run.totals import Totals
from workers.inference.early_exit import EarlyExit
from workers.sampling import Protocol

RUN_VERSION = 1


@dataclass(frozen=True)
class EarlyExitTerms:
    """The early exit that a run was asked for, and what it guarantees.

    Attributes:
        threshold: of `EarlyExit`.
        max_views: views per video that are evaluated; None for all.
        agreement: guaranteed share of videos whose label is that of all views.
        confidence: of the guarantee.
    """

    threshold: float
    max_views: int | None
    agreement: float
    confidence: float

    @property
    def early_exit(self) -> EarlyExit:
        """As labelers take it."""
        return EarlyExit(self.threshold, self.max_views)


@dataclass(frozen=True)
class Identity:
    """All that decides what a row says; a run holds rows of one identity.

    Attributes:
        input: the input, resolved.
        model: fingerprint of the weights.
        labels: fingerprint of the class names.
        protocol: how videos become views.
        decoder: which decoder.
        limit: videos of the input that are labeled, at the most; None for all.
        sample: videos of a sweep, those with the smallest unit ids; None for all.
        all_files: whether files of every name were taken for videos.
        pruning: fields of `sta.Pruning`; r alone where nothing is pruned; empty for a sweep.
        variants: of a sweep, the prunings by name.
        shadow_share: share of the units that are labeled without pruning too.
        early_exit: when labeling of a video stops; None for all views of each.
        budget: what the run's budget is in; its size may change from attempt to attempt.
        early_exit_curve: digest of the curve by which the budget is spent.
        unit_schema: version of the columns of units/.
        sweep_schema: the same of a sweep.
    """

    input: str
    model: str
    labels: str
    protocol: Protocol
    decoder: str
    limit: int | None = None
    sample: int | None = None
    all_files: bool = False
    pruning: Mapping[str, Any] = field(default_factory=dict)
    variants: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    shadow_share: float = 0.0
    early_exit: EarlyExitTerms | None = None
    budget: Literal["flops", "money"] | None = None
    early_exit_curve: str | None = None
    unit_schema: int | None = None
    sweep_schema: int | None = None

    @property
    def r(self) -> int:
        """Tokens pruned per frame at the first stage; 0 for the unpruned model."""
        return int(self.pruning["r"])

    @property
    def is_pruned(self) -> bool:
        """Whether the model prunes tokens; true of a sweep."""
        return bool(self.pruning.get("r", True))

    @property
    def has_segments(self) -> bool:
        """Whether units are segments of long videos whose clips have labels of their own."""
        return self.protocol.every_s is not None

    @property
    def units_are(self) -> str:
        """What the units are, for people."""
        return "segments" if self.has_segments else "videos"

    def to_json(self) -> dict[str, Any]:
        """Without fields that hold their default."""
        return _without_defaults(self)


@dataclass(frozen=True)
class Model:
    """The model that labeled.

    Attributes:
        architecture: its name, such as vit_base.
        checkpoint: its source, without secrets.
        labels: names of the classes.
        notes: what loading it gave to say.
        kept_grids: (temporal positions, spatial positions) of the kept-token map of each stage.
        flops_per_view: multiply-accumulates of a view; of a typical one where they follow the clip.
        flops_per_view_unpruned: the same of the unpruned model.
        flops_vary_by_clip: whether views differ in their FLOPs.
        flops: of a sweep, multiply-accumulates of a view by variant.
    """

    architecture: str
    checkpoint: str
    labels: tuple[str, ...]
    notes: tuple[str, ...] = ()
    kept_grids: tuple[tuple[int, ...], ...] = ()
    flops_per_view: int = 0
    flops_per_view_unpruned: int = 0
    flops_vary_by_clip: bool = False
    flops: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Listed:
    """What the listing of the input gave.

    Attributes:
        videos: in the manifest.
        units: that they are cut into.
        skipped: files that are no videos, by kind.
    """

    videos: int = 0
    units: int = 0
    skipped: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Environment:
    """What made the run.

    Attributes:
        code: version of this program.
        python: version.
        platform: of the driver.
        packages: versions by name; None for what is not installed.
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
    """One command that worked on the run, and what was reserved for it.

    Attributes:
        began: when, UTC.
        ended: when it ended by itself, UTC; None of one that was killed or is at work.
        cpus: cores of the cluster, at its largest.
        gpus: GPUs of the cluster.
        nodes: machines of the cluster.
        decoders: decode actors, at the most.
        decoder_cpus: cores of each.
        labelers: label actors.
        labeler_cpus: cores that each computes on; 0 on a GPU.
        labeler_gpus: GPUs of each.
        devices: names of what labelers computed on; none before their first batch.
        units_before: units that had a row when it began; None until they were counted.
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
    devices: tuple[str, ...] = ()
    units_before: int | None = None


@dataclass(frozen=True)
class StagesRecord:
    """Rates that `--decoders auto` goes by.

    Attributes:
        threads: cores of each labeler then; None on GPUs.
        stages: `Stages.as_json`.
    """

    threads: int | None
    stages: Mapping[str, Any]


@dataclass(frozen=True)
class SliceRecord:
    """What was decided for a slice of a run with a budget, before its first unit.

    Attributes:
        threshold: of `EarlyExit`.
        max_views: views per video that are evaluated; None for all.
        units: of the slice.
        calibration: the point of the calibration's curve that was chosen.
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
    """The budget of the last attempt and what was decided by it.

    Attributes:
        flops: multiply-accumulates; None for a budget of money.
        money: in the currency of the prices; None for one of FLOPs.
        units: of the run.
        slices: those decided so far, in order.
    """

    flops: float | None
    money: float | None
    units: int
    slices: tuple[SliceRecord, ...] = ()


@dataclass(frozen=True)
class RunRecord:
    """The content of run.json.

    Attributes:
        identity: all that decides what a row says.
        model: the model that labeled.
        run_id: identity of the run itself; None before it is first written.
        version: of this format.
        created: when run.json was first written, UTC, after the first attempt began and listed.
        finished: when its last attempt finished it, UTC; None before that.
        flags: of the last command, as `--config` takes them.
        listing: what the listing of the input gave.
        environment: what made the run.
        prices: what machines cost.
        min_agreement: share of the shadow sample that must keep its label; fewer are warned of.
        device: the cluster of the last attempt.
        attempts: every command that worked on it, in order.
        measured: rates that `--decoders auto` goes by.
        budget: what the run may spend, and what was decided by it.
        totals: what the rows add up to; None before the run is finished.
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
    device: ClusterRecord | None = None
    attempts: tuple[Attempt, ...] = ()
    measured: StagesRecord | None = None
    budget: BudgetRecord | None = None
    totals: Totals | None = None

    @property
    def is_sweep(self) -> bool:
        """Whether the rows say what several prunings give, in place of labels."""
        return bool(self.identity.variants)

    @property
    def finished_totals(self) -> Totals:
        """The totals of a finished run."""
        assert self.totals is not None
        return self.totals

    def to_json(self) -> dict[str, Any]:
        """The JSON object that `from_json` reads."""
        parts = {"identity": self.identity.to_json(), "model": _without_defaults(self.model)}
        if self.is_sweep and self.totals is not None:
            parts["totals"] = _without_defaults(self.totals)  # it adds up nothing else
        return {"version": self.version} | _without_defaults(self) | parts

    @classmethod
    def from_json(cls, content: Any) -> RunRecord:
        """The record that `to_json` wrote.

        Raises:
            ValueError: the message names the field, and what is wrong with it.
        """
        record = _read(cls, content, "")
        assert isinstance(record, RunRecord)
        return record


def _without_defaults(value: Any) -> dict[str, Any]:
    return {
        each.name: _written(getattr(value, each.name))
        for each in dataclasses.fields(value)
        if getattr(value, each.name) != _default(each)
    }


def _default(each: dataclasses.Field[Any]) -> Any:
    if each.default_factory is not dataclasses.MISSING:
        return each.default_factory()
    return each.default


def _written(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return {
            each.name: _written(getattr(value, each.name)) for each in dataclasses.fields(value)
        }
    if isinstance(value, datetime.datetime):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {name: _written(each) for name, each in value.items()}
    return [_written(each) for each in value] if isinstance(value, (list, tuple)) else value


def _read(kind: Any, value: Any, name: str) -> Any:
    """A value of JSON as a value of this type; `name` is where it stands, by dots."""
    origin, parts = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        if value is None and type(None) in parts:
            return None
        return _read(next(part for part in parts if part is not type(None)), value, name)
    if origin is tuple:
        _check(list, value, name)
        return tuple(_read(parts[0], each, f"{name}[{n}]") for n, each in enumerate(value))
    if dataclasses.is_dataclass(kind):
        return _read_fields(kind, value, name)
    if kind is datetime.datetime:
        return _read_time(value, name)
    if origin is Literal:
        if value not in parts:
            raise ValueError(f"{name} is {value!r}; it must be one of {', '.join(parts)}")
    elif kind is not Any:
        _check(origin or kind, value, name)
    return value


def _read_fields(kind: Any, content: Any, name: str) -> Any:
    _check(dict, content, name)
    fields, hints = dataclasses.fields(kind), get_type_hints(kind)
    prefix = f"{name}." if name else ""
    unknown = sorted(content.keys() - hints.keys())
    if unknown:
        known = ", ".join(each.name for each in fields)
        raise ValueError(f"{prefix}{unknown[0]} is unknown; known are {known}")
    for each in fields:
        if each.name not in content and _default(each) is dataclasses.MISSING:
            raise ValueError(f"{prefix}{each.name} is missing")
    return kind(**{key: _read(hints[key], value, prefix + key) for key, value in content.items()})


def _read_time(value: Any, name: str) -> datetime.datetime:
    _check(str, value, name)
    time = datetime.datetime.fromisoformat(value)
    return time if time.tzinfo else time.replace(tzinfo=datetime.UTC)


def _check(kind: type, value: Any, name: str) -> None:
    allowed = (int, float) if kind is float else kind
    if not isinstance(value, allowed) or (isinstance(value, bool) and kind is not bool):
        raise ValueError(
            f"{name or 'the content'} is {value!r:.60}; it must be of type {kind.__name__}"
        )
