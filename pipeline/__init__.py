"""The pipeline: listing, manifest, the Ray Data graph, the run directory, tables and summaries."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.embeddings.read import EmbeddingBatch, read_embeddings
    from pipeline.questions.answer_to import ask
    from pipeline.run.kept_token_maps import KeptTokenMaps, read_kept_token_maps

__all__ = ["EmbeddingBatch", "KeptTokenMaps", "ask", "read_embeddings", "read_kept_token_maps"]

_MODULES = {
    "pipeline.embeddings.read": ("EmbeddingBatch", "read_embeddings"),
    "pipeline.questions.answer_to": ("ask",),
    "pipeline.run.kept_token_maps": ("KeptTokenMaps", "read_kept_token_maps"),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    # Whoever imports one room of the pipeline does not pay for what another one needs.
    if name in _MODULE_OF:
        return getattr(import_module(_MODULE_OF[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
