"""Figures in words, for people."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

from pipeline.formatting import byte_size as byte_size
from pipeline.formatting import digits

_ONE = {"videos": "video", "stretches": "stretch", "clips": "clip", "views": "view"}


def duration(seconds: float) -> str:
    """Such as `41 ms`, `7.3 s`, `12 min 5 s`, `3 h 20 min` or `2 d 4 h`."""
    if seconds < 1:
        return f"{digits(1000 * seconds)} ms"
    if seconds < 60:
        return f"{digits(seconds)} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    minutes = round(seconds / 60)
    if minutes < 24 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    hours = round(seconds / 3600)
    return f"{hours // 24} d {hours % 24} h"


def money(amount: float, currency: str) -> str:
    """Such as `1,234.50 EUR`."""
    shown = "< 0.01" if 0 < amount < 0.01 else f"{amount:,.2f}"
    return f"{shown} {currency}"


def moment(text: str | None) -> str | None:
    """A time in ISO format for people, such as `2026-11-26 09:16:26 UTC`; else the text itself."""
    try:
        time = datetime.datetime.fromisoformat(text or "")
    except ValueError:
        return text
    return f"{time.astimezone(datetime.UTC):%Y-%m-%d %H:%M:%S} UTC"


def counted(count: int, things: str) -> str:
    """Such as `1 video` or `1,200 stretches`."""
    return f"{count:,} {_ONE[things] if count == 1 else things}"


def pruning(run: Mapping[str, Any]) -> str:
    """Such as `STA, r = 64 (released)`."""
    settings = run["pruning"]
    if not settings.get("r"):
        return "unpruned" if run["r"] == 0 else "not known"
    words = f"{str(settings.get('score', '')).upper()}, r = {settings['r']}"
    return f"{words} ({settings['grouping']})" if settings.get("grouping") else words


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


def stretch(row: Mapping[str, Any]) -> str:
    """Where in its recording a unit lies, such as `32 to 64 s`; nothing of a whole video."""
    if row["start_s"] is None:
        return ""
    end = "the end" if row["end_s"] is None else f"{row['end_s']:.6g} s"
    return f"{row['start_s']:.6g} s to {end}"
