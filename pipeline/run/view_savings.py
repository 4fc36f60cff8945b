"""What a policy spared: views that were looked at against all that the protocol has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Spared:
    """How much of a full labeling a run with a policy took.

    Attributes:
        videos: labeled.
        looked: views that were looked at.
        of: views that the protocol has of each video.
        flops: multiply-accumulates of the views that were looked at.
        dense: multiply-accumulates of one view of the unpruned model.
    """

    videos: int
    looked: int
    of: int
    flops: int
    dense: int

    @classmethod
    def by(
        cls, content: Mapping[str, Any], *, videos: int, looked: int, flops: int
    ) -> Spared | None:
        """From a run.json and sums over the run's tables; None without a policy or a label."""
        identity = content["identity"]
        if "early_exit" not in identity or not looked:
            return None
        of = identity["protocol"]["clips"] * identity["protocol"]["crops"]
        return cls(videos, looked, of, flops, content["model"]["flops_per_view_unpruned"])

    @property
    def mean(self) -> float:
        """Views looked at per video."""
        return self.looked / self.videos

    @property
    def of_all(self) -> float:
        """Share of the FLOPs of all views, each taken to cost what those looked at cost."""
        return self.looked / (self.videos * self.of)

    @property
    def of_unpruned(self) -> float:
        """Share of the FLOPs of all views of the unpruned model."""
        return self.flops / (self.videos * self.of * self.dense)


def all_views(content: Mapping[str, Any]) -> str:
    """What the model of a run's shadow sample did otherwise than the run, in words."""
    identity = content["identity"]
    pruned = "without pruning" if is_pruned(identity) else ""
    looked = "by all views" if "early_exit" in identity else ""
    return " ".join(filter(None, (looked, pruned)))


def is_pruned(identity: Mapping[str, Any]) -> bool:
    """Whether a run's model drops tokens."""
    return bool(identity.get("pruning", {}).get("r", True))
