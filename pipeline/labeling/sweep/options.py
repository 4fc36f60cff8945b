"""What a sweep run is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.errors import UsageError
from pipeline.labeling.options import LabelOptions
from workers.inference.reduction import SweepVariant


@dataclass(frozen=True)
class SweepOptions:
    """Which prunings to compare, on which videos, and how.

    Attributes:
        labeling: input, output, checkpoint and resources, as for a labeling run by all views; its
            pruning is ignored.
        variants: the prunings by name, or other methods.
        sample: so many videos of the input, those with the smallest unit ids; None for all. Ids are
            hashes, so it is the same sample whoever asks, and a part of every larger one.
    """

    labeling: LabelOptions
    variants: Mapping[str, SweepVariant]
    sample: int | None = None

    def __post_init__(self) -> None:
        if not self.variants:
            raise UsageError("a sweep has no pruning; name at least one")
        if self.sample is not None and self.sample < 1:
            raise UsageError(f"a sample must be of 1 video or more; got {self.sample}")
