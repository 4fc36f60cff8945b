"""What a run cost: by what its rows took, and by the cluster that was reserved for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.prices import Prices
from pipeline.run_report.spans import Span


@dataclass(frozen=True)
class Cost:
    """Amounts in the prices' currency.

    Attributes:
        currency: of all amounts.
        labelling: the rows' device time: of GPUs where labellers had them, else of their cores,
            as the last start gave them out.
        decoding: the rows' decode core time.
        reading: the bytes that were read; the requests for them are not counted.
        reserved: the whole cluster for as long as the starts of the command took; None where they
            are not known. A cluster with GPUs is priced by them, cores included.
    """

    currency: str
    labelling: float
    decoding: float
    reading: float
    reserved: float | None

    @property
    def rows(self) -> float:
        """What the rows took, all together."""
        return self.labelling + self.decoding + self.reading


def cost(
    prices: Prices,
    starts: Sequence[Mapping[str, Any]],
    among: Sequence[Span],
    *,
    device_s: float,
    decode_s: float,
    bytes_read: int,
) -> Cost:
    """The cost of a run.

    Args:
        prices: of what it used.
        starts: run.json's, one per span.
        among: when they were at work.
        device_s: device time of all rows, the shadow sample's included, seconds.
        decode_s: decode core time of all rows, seconds.
        bytes_read: bytes read from storage.
    """
    reserved = sum(
        span.seconds * _cluster_second(start, prices)
        for start, span in zip(starts, among, strict=True)
    )
    return Cost(
        prices.currency,
        labelling=device_s * _labeller_second(starts, prices),
        decoding=decode_s * prices.core_second,
        reading=bytes_read / 1e9 * prices.read_gb,
        reserved=reserved if starts else None,
    )


def _labeller_second(starts: Sequence[Mapping[str, Any]], prices: Prices) -> float:
    """A second of a labeller; that of one core where no start says what it had."""
    if not starts:
        return prices.core_second
    last = starts[-1]
    if last["labeller_gpus"] > 0:
        return float(last["labeller_gpus"]) * prices.gpu_second
    return float(last["labeller_cpus"]) * prices.core_second


def _cluster_second(start: Mapping[str, Any], prices: Prices) -> float:
    """A second of the cluster that a start found."""
    if start["gpus"] > 0:
        return float(start["gpus"]) * prices.gpu_second
    return float(start["cpus"]) * prices.core_second
