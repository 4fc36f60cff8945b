"""Settings of a run in words: pruning, protocol, device."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.formatting import duration


def pruning(run: Mapping[str, Any]) -> str:
    """Such as `STA, r = 64 (grouping: released)`."""
    settings = run["pruning"]
    if not settings.get("r"):
        return "unpruned" if run["r"] == 0 else "not known"
    words = f"{str(settings.get('score', '')).upper()}, r = {settings['r']}"
    return f"{words} (grouping: {settings['grouping']})" if settings.get("grouping") else words


def protocol(run: Mapping[str, Any]) -> str:
    """Such as `videomae-k400, 5x3 (clips x crops)`."""
    settings = run["protocol"]
    name, crops = settings.get("name", "not known"), settings.get("crops")
    every = settings.get("every_s")
    if every is not None:
        crops = "" if crops == 1 else f" of {crops} crops"
        return f"{name}, a clip{crops} every {duration(every)}"
    if crops is None:
        return str(name)
    return f"{name}, {settings['clips']}x{crops} (clips x crops)"


def device(run: Mapping[str, Any]) -> str | None:
    """What labelers computed on and what the cluster had, such as
    `NVIDIA H100 80GB HBM3; 2 GPUs and 16 cores on 1 machine`; None if not known.
    """
    settings = run["device"]
    if not settings:
        return None
    machines = "1 machine" if settings["nodes"] == 1 else f"{settings['nodes']:g} machines"
    gpus = f"{settings['gpus']:g} GPU{'s' * (settings['gpus'] != 1)} and " * bool(settings["gpus"])
    cluster = f"{gpus}{settings['cpus']:g} cores on {machines}"
    return "; ".join([*run["labeler_devices"], cluster])


def segment(row: Mapping[str, Any]) -> str:
    """Where in its recording a unit lies, such as `32 to 64 s`; nothing of a whole video."""
    if row["start_s"] is None:
        return ""
    end = "the end" if row["end_s"] is None else f"{row['end_s']:.6g} s"
    return f"{row['start_s']:.6g} s to {end}"
