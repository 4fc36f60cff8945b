"""Kept masks as bits and back; the order is that of `workers.schema.KEPT_MAPS_ABOUT`."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def pack_mask(mask: npt.NDArray[np.bool_]) -> bytes:
    """A kept mask (n_t, n_s) as bits."""
    return np.packbits(mask.reshape(-1)).tobytes()


def unpack_mask(packed: bytes, grid: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """The mask (n_t, n_s) that `pack_mask` packed."""
    bits = np.unpackbits(np.frombuffer(packed, dtype=np.uint8), count=grid[0] * grid[1])
    return bits.astype(bool).reshape(grid)
