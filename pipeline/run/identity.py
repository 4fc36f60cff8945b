"""The identity of a run: all settings that decide what its rows say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pipeline.inputs.list_options import ListOptions
from pipeline.run.json_fields import without_defaults
from workers.decoding.types import DECODE_MODES
from workers.inference.early_exit import EarlyExit
from workers.precisions import Precision
from workers.sampling import Protocol

# Of views, or also their mean per video.
StoredEmbeddings = Literal["views", "videos"]


@dataclass(frozen=True)
class EarlyExitTerms:
    """Early exit of a run, and its guarantee.

    Attributes:
        threshold: as in `EarlyExit`.
        max_views: largest number of evaluated views per video; None for all.
        agreement: guaranteed share of videos with the same label as by all views.
        confidence: confidence of the guarantee.
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
    """The settings that determine the rows of a run; all rows of a run have one identity.

    Attributes:
        input: the input, resolved.
        model: fingerprint of the weights.
        shape: the model's shape, which configuration files beside the weights say.
        labels: fingerprint of the class names.
        protocol: how videos become views.
        decoder: name of the decoder.
        precision: what the model computes in; None before it is chosen, see `labeling.precision`.
        limit: largest number of videos to label; None for all.
        sample: number of videos of a sweep, those with the smallest unit ids; None for all.
        all_files: whether files without a video's extension are included.
        follow_links: whether links that lead out of a directory are followed.
        lists: how a list is read.
        since: OUTPUT folders of the earlier runs whose labeled videos are left out, resolved.
        pruning: fields of `sta.Pruning`; only r without pruning; empty for a sweep.
        variants: prunings of a sweep by name.
        shadow_share: share of the units that are also labeled without pruning.
        early_exit: when the evaluation of a video stops; None for all views of each.
        budget: unit of the run's budget; its size may differ between attempts.
        early_exit_curve: digest of the curve by which the budget is spent.
        unit_schema: version of the columns of units/.
        sweep_schema: version of the columns of a sweep.
        decode: "exact", or "fast" for nearly the frames of a full decode.
        embeddings: whether the features of views are stored, and their mean per video; None if not.
        head: fingerprint of the head that classifies instead of the model's own; "" for that.
        relabeled: OUTPUT of the run whose embeddings were classified, resolved; "" where videos
            were decoded.
    """

    input: str
    model: str
    labels: str
    protocol: Protocol
    decoder: str
    precision: Precision | None = None
    limit: int | None = None
    sample: int | None = None
    all_files: bool = False
    follow_links: bool = False
    lists: ListOptions = field(default_factory=ListOptions)
    since: tuple[str, ...] = ()
    pruning: Mapping[str, Any] = field(default_factory=dict)
    variants: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    shadow_share: float = 0.0
    early_exit: EarlyExitTerms | None = None
    budget: Literal["flops", "money"] | None = None
    early_exit_curve: str | None = None
    unit_schema: int | None = None
    sweep_schema: int | None = None
    decode: str = DECODE_MODES[0]
    shape: Mapping[str, Any] = field(default_factory=dict)
    embeddings: StoredEmbeddings | None = None
    head: str = ""
    relabeled: str = ""

    @property
    def r(self) -> int:
        """Tokens pruned per frame at the first stage; 0 for the unpruned model."""
        return int(self.pruning["r"])

    @property
    def is_pruned(self) -> bool:
        """Whether the model prunes tokens; True for a sweep."""
        return bool(self.pruning.get("r", True))

    @property
    def has_segments(self) -> bool:
        """Whether units are segments of long videos, whose clips each have a label."""
        return self.protocol.every_s is not None

    @property
    def units_are(self) -> str:
        """What units are called in messages."""
        return "segments" if self.has_segments else "videos"

    def to_json(self) -> dict[str, Any]:
        """The JSON object, without fields that have their default value."""
        content = without_defaults(self)
        return content | {"lists": without_defaults(self.lists)} if "lists" in content else content
