"""What made the labels of a run, in words."""

from __future__ import annotations

from pipeline.run.identity import Identity


def pruning_and_views(identity: Identity) -> str:
    """Such as `r = 64, 5x3 views`."""
    protocol = identity.protocol
    pruned = f"r = {identity.r}" if identity.is_pruned else "unpruned"
    if protocol.every_s is not None:
        return f"{pruned}, a clip every {protocol.every_s:g} s"
    return f"{pruned}, {protocol.clips}x{protocol.crops} views"
