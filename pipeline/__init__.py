"""The pipeline: listing, manifest, the Ray Data graph, the run directory, tables and summaries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.run.kept_token_maps import KeptTokenMaps, read_kept_token_maps

__all__ = ["KeptTokenMaps", "read_kept_token_maps"]


def __getattr__(name: str) -> Any:
    # Whoever imports one room of the pipeline does not pay for what another one needs.
    if name in __all__:
        from pipeline.run import kept_token_maps as kept_token_maps

        return getattr(kept_token_maps, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
