"""Numbers for people."""

from __future__ import annotations

import numpy as np


def digits(value: float, significant: int = 3) -> str:
    """A number of so many digits, never in powers of ten: `0.000123`, `12.3`, `1,235`."""
    if abs(value) >= 10**significant or value == 0:
        return f"{value:,.0f}"
    text = np.format_float_positional(
        value, precision=significant, fractional=False, unique=False, trim="-"
    )
    return str(text)


def short(value: float) -> str:
    """A number of three digits at most, in thousands, millions and so on: `0.12`, `1.5`, `102k`."""
    for suffix in ("", "k", "M"):
        text = digits(value, 2 if value < 10 else 3)
        if float(text.replace(",", "")) < 1000:
            return f"{text}{suffix}"
        value /= 1000
    return f"{digits(value, 2 if value < 10 else 3)}G"


def byte_size(count: float) -> str:
    """Such as `1.25 GB`; powers of ten."""
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{digits(count / size)} {unit}"
    return f"{count:.0f} B"
