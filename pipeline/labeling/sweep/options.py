"""What a sweep run is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import sta
from pipeline.errors import UsageError
from pipeline.labeling.options import LabelOptions


@dataclass(frozen=True)
class SweepOptions:
    """What to try, on which videos, and how.

    Attributes:
        labeling: input, output, checkpoint and how is worked, as for a labeling run by all
            views; its pruning is not looked at.
        variants: the prunings by name.
        sample: so many videos of the input, those with the smallest unit ids; None for all. Ids are
            hashes, so it is the same sample whoever asks, and a part of every larger one.
    """

    labeling: LabelOptions
    variants: Mapping[str, sta.Pruning]
    sample: int | None = None

    def __post_init__(self) -> None:
        if not self.variants:
            raise UsageError("there is nothing to try: name at least one pruning")
        if self.sample is not None and self.sample < 1:
            raise UsageError(f"a sample must be of 1 video or more; got {self.sample}")
