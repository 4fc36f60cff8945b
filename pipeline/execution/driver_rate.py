"""How many units a driver passes through the graph in a second, and how many drivers a run needs.

A driver is one process of Python: it plans, submits and accounts for every block of units, whatever
the bytes of the block, at most on about one core. `python -m tests.scale.graph_rows` measures it.
"""

from __future__ import annotations

import math

from pipeline.execution.pools import Pools

# CPU seconds of a driver for a block of units, and for each unit of it.
_BLOCK_S = 5.5e-3
_UNIT_S = 0.7e-3

# Multiply-accumulates per second of the fastest labeler: an H100 labels some 140 videos a second
# with ViT-B, r = 64, 15 views; a core computes 0.25e12 in bfloat16.
_GPU_FLOPS = 200e12
_CORE_FLOPS = 0.25e12

# Each driver takes two cores of the cluster for its graph's own steps. With so many cores for each
# driver these are a sixteenth.
_CORES_PER_DRIVER = 32

# Cores of the drivers' machine: for the driver, its tally and its file history.
_OWN_CORES_PER_DRIVER = 2


def driver_units_per_s(block_rows: int) -> float:
    """Units per second that one driver passes through the graph in blocks of so many."""
    return block_rows / (_BLOCK_S + _UNIT_S * block_rows)


def drivers_worth(
    pools: Pools, *, cpus: float, own_cores: int, unit_flops: float, block_rows: int
) -> int:
    """The number of drivers that the fastest labelers can need.

    Args:
        pools: actors of the run.
        cpus: cores of the cluster.
        own_cores: cores of the machine that the drivers run on.
        unit_flops: multiply-accumulates of labeling a unit.
        block_rows: units per block.
    """
    each = _GPU_FLOPS if pools.labeler_gpus else _CORE_FLOPS * (pools.labeler_threads or 1)
    needed = math.ceil(pools.labelers * each / unit_flops / driver_units_per_s(block_rows))
    most = min(
        pools.labelers,
        pools.decoders[1],
        own_cores // _OWN_CORES_PER_DRIVER,
        int(cpus / _CORES_PER_DRIVER),
    )
    return max(1, min(needed, most))
