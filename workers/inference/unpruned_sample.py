"""The shadow sample: units that are labeled without pruning too, to measure its effect on labels.

A unit's id is a hash, and its last digits decide whether the unit is in the sample. Every run over
the same videos has the same sample, and a smaller share is a subset of a larger one. The first
digits choose calibration videos and budget slices, so a sample by these digits would overlap with
the videos that early exit was fitted on, or lie within one slice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # It imports torch, which choosing a sample does not need.
    from workers.inference.labeler import LabelerConfig

_DIGITS = 8
_NUMBERS: int = 16**_DIGITS


@dataclass(frozen=True)
class Shadow:
    """The shadow sample of a run and its labeler.

    Attributes:
        share: share of the units, above 0 and at most 1.
        labeler: the unpruned model.
    """

    share: float
    labeler: LabelerConfig

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise ValueError(
                f"the share of a shadow sample must be above 0 and at most 1; got {self.share}"
            )
        if self.labeler.pruning.r:
            raise ValueError(
                f"the labeler of a shadow sample must not prune; got r = {self.labeler.pruning.r}"
            )


def in_sample(unit_id: str, share: float) -> bool:
    """Whether a unit belongs to the sample of a share of all units.

    Args:
        unit_id: hexadecimal digits that are spread evenly.
        share: 0 to 1.
    """
    return int(unit_id[-_DIGITS:], 16) < share * _NUMBERS
