"""The configuration of a run, for its report."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from typing import Any

from pipeline.formatting import moment
from pipeline.reports import settings


def configuration(run: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What labeled what, and how, by name; without what is not known."""
    facts = {
        "Input": run["input"],
        "Labeled before": _labeled_before(run),
        "Output": run["output"],
        "Model": run["architecture"],
        "Checkpoint": run["checkpoint"],
        "Head": _head(run["head"]),
        "Embeddings of": run["relabeled"],
        "Classes": run["classes"] or None,
        "Pruning": settings.pruning(run),
        "Protocol": settings.protocol(run),
        "Precision": run["precision"],
        "Decoding": None if run["decode"] == "exact" else f"--decode {run['decode']}",
        "Code (git commit)": run["code"],
        "Device": settings.device(run),
        "Begun": moment(run["began"]),
        "Finished": moment(run["finished"]),
    }
    return [(name, str(value)) for name, value in facts.items() if value is not None]


def head_name(head: Mapping[str, Any]) -> str:
    """The short name of a head: of its file, or else its fingerprint."""
    return posixpath.basename(head["file"] or "") or str(head["name"])


def _labeled_before(run: Mapping[str, Any]) -> str | None:
    """How many videos were left out, and the runs that had labeled them."""
    if not run["since"]:
        return None
    return f"{run['labeled_before']:,} videos, left out: {', '.join(run['since'])}"


def _head(head: Mapping[str, Any] | None) -> str | None:
    """The head that labeled in place of the checkpoint's, by its file and its fingerprint."""
    if head is None:
        return None
    return f"{head['file']} ({head['name']})" if head["file"] else str(head["name"])
