"""The shadow sample: units that are labeled without pruning too, so that its cost in labels shows.

A unit's id is a hash, and its last digits decide. The same units are chosen whoever asks, in every
run over the same videos, and a smaller share is a part of every larger one. By the first digits the
videos of a calibration are chosen and the slices of a budget: a sample by these would hold videos
that the policy was fitted on, and of one slice only.
"""

from __future__ import annotations

from dataclasses import dataclass

from workers.inference.labeler import LabelerConfig

_DIGITS = 8
_NUMBERS: int = 16**_DIGITS


@dataclass(frozen=True)
class Shadow:
    """Which units are labeled without pruning too, and by what.

    Attributes:
        share: of the units, above 0 and at most 1.
        labeler: the unpruned model.
    """

    share: float
    labeler: LabelerConfig

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise ValueError(f"a shadow sample's share must be above 0 and at most 1: {self.share}")
        if self.labeler.pruning.r:
            raise ValueError(
                f"a shadow sample is labeled without pruning; got r = {self.labeler.pruning.r}"
            )


def in_sample(unit_id: str, share: float) -> bool:
    """Whether a unit belongs to the sample of a share of all units.

    Args:
        unit_id: hexadecimal digits that are spread evenly.
        share: 0 to 1.
    """
    return int(unit_id[-_DIGITS:], 16) < share * _NUMBERS
