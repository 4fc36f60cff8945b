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
