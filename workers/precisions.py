"""The precisions that a model can compute in, and which of them a device computes fast; no torch.

In bfloat16, linear layers, convolutions and attention take and give numbers of 8 significant bits
and add up in float32. STA's scores, the sums of layer norms and softmax, and the classifier are
computed in float32 in any precision.
"""

from __future__ import annotations

from typing import Literal, get_args

from workers.device_names import DeviceKind
from workers.machine import has_bfloat16

Precision = Literal["float32", "bfloat16"]

PRECISIONS: tuple[Precision, ...] = get_args(Precision)


def fast_precision(kind: DeviceKind) -> Precision:
    """The fastest precision of a device of this kind in this machine.

    That is bfloat16 on a GPU, and on a processor with instructions for it; else float32.
    """
    return "bfloat16" if kind == "cuda" or has_bfloat16() else "float32"
