"""What a run cost: by what its rows took, and by the cluster that was reserved for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.prices import Prices
from pipeline.reports.run.spans import Span


@dataclass(frozen=True)
class Cost:
    """Amounts in the prices' currency.

    Attributes:
        currency: of all amounts.
        labeling: the rows' device time, the shadow sample's included: of GPUs where labelers had
            them, else of their cores, as the last attempt gave them out.
        decoding: the rows' decode core time.
        reading: the bytes that were read, and a request per unit in object storage.
        reserved: the whole cluster for the wall time of all attempts, and reading; None where they
            are not known.
    """

    currency: str
    labeling: float
    decoding: float
    reading: float
    reserved: float | None

    @property
    def rows(self) -> float:
        """What the rows took, all together."""
        return self.labeling + self.decoding + self.reading


def cost(
    prices: Prices,
    attempts: Sequence[Mapping[str, Any]],
    among: Sequence[Span],
    *,
    device_s: float,
    decode_s: float,
    bytes_read: int,
    gets: int,
) -> Cost:
    """The cost of a run.

    Args:
        prices: of what it used.
        attempts: run.json's, one per span.
        among: when they were at work.
        device_s: device time of all rows, the shadow sample's included, seconds.
        decode_s: decode core time of all rows, seconds.
        bytes_read: bytes read from storage.
        gets: requests for them.
    """
    held = list(zip(attempts, among, strict=True)) if attempts else []
    gpu_s = sum(span.seconds * float(attempt["gpus"]) for attempt, span in held)
    core_s = sum(span.seconds * float(attempt["cpus"]) for attempt, span in held)
    reading = prices.reading(bytes_read, gets)
    return Cost(
        prices.currency,
        labeling=device_s * _labeler_second(attempts, prices),
        decoding=decode_s * prices.core_second,
        reading=reading,
        reserved=prices.held(gpu_s, core_s) + reading if attempts else None,
    )


def _labeler_second(attempts: Sequence[Mapping[str, Any]], prices: Prices) -> float:
    """A second of a labeler; that of one core where no attempt says what it had."""
    if not attempts:
        return prices.core_second
    last = attempts[-1]
    return prices.device_second(gpus=float(last["labeler_gpus"]), cores=float(last["labeler_cpus"]))
