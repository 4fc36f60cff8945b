"""View savings of early exit: evaluated views compared with all views of the protocol."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.run.identity import Identity
from pipeline.run.run_record import RunRecord


@dataclass(frozen=True)
class ViewSavings:
    """Views and FLOPs that a run with early exit took.

    Attributes:
        videos: number of labeled videos.
        views: evaluated views of these videos.
        views_per_video: views of a video in the protocol.
        flops: multiply-accumulates of the evaluated views.
        unpruned_flops: multiply-accumulates of one view of the unpruned model.
    """

    videos: int
    views: int
    views_per_video: int
    flops: int
    unpruned_flops: int

    @classmethod
    def of_run(
        cls, record: RunRecord, *, videos: int, views: int, flops: int
    ) -> ViewSavings | None:
        """View savings from run.json and sums over tables; None without early exit or labels."""
        identity = record.identity
        if identity.early_exit is None or not views:
            return None
        per_video = identity.protocol.views
        return cls(videos, views, per_video, flops, record.model.flops_per_view_unpruned)

    @property
    def mean(self) -> float:
        """Evaluated views per video."""
        return self.views / self.videos

    @property
    def share_of_all(self) -> float:
        """Share of the FLOPs of all views, if all views cost the same."""
        return self.views / (self.videos * self.views_per_video)

    @property
    def share_of_unpruned(self) -> float:
        """Share of the FLOPs of all views of the unpruned model."""
        return self.flops / (self.videos * self.views_per_video * self.unpruned_flops)


def all_views(identity: Identity) -> str:
    """How the shadow sample is labeled, such as "by all views without pruning"."""
    pruned = "without pruning" if identity.is_pruned else ""
    views = "with all views" if identity.early_exit is not None else ""
    return " and ".join(filter(None, (views, pruned)))
