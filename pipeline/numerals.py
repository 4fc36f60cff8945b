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


def byte_size(count: float) -> str:
    """Such as `1.25 GB`; powers of ten."""
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{digits(count / size)} {unit}"
    return f"{count:.0f} B"
