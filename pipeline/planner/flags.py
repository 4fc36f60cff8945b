"""The planner's own flags; the others are those of the labeling job."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

from pipeline.errors import UsageError
from pipeline.flags import flag
from pipeline.planner.scenario import Limits
from pipeline.prices import Prices
from workers.sampling import parse_duration

_PLAN = "plan"
_PRICES = "prices"
_LIMITS = "limits that more machines do not raise (default: none)"
_MAY_BE_ZERO = ("gpu_price", "core_price", "cores_per_gpu", "preemptions")


@dataclass(frozen=True)
class PlanFlags:
    """What is planned, at which prices, within which limits; fields are flags.

    Raises:
        UsageError: a value is out of range, or prices are incomplete.
    """

    task: Literal["k400", "ssv2"] = flag("labeling job to plan", "k400", group=_PLAN)
    deadline: float | None = flag(
        "time by which labeling must end, such as 8h or 90m",
        None,
        type=parse_duration,
        metavar="T",
        group=_PLAN,
    )
    videos: int | None = flag(
        "plan for N videos like those of INPUT", None, metavar="N", group=_PLAN
    )
    archive_hours: float | None = flag(
        "plan for H hours of videos like those of INPUT", None, metavar="H", group=_PLAN
    )
    seconds: float = flag("measure for S seconds", 60.0, metavar="S", group=_PLAN)
    json: Path | None = flag(
        "also write the plan to FILE, as JSON", None, metavar="FILE", group=_PLAN
    )
    gpu_price: float | None = flag("price of one GPU per hour", None, metavar="P", group=_PRICES)
    core_price: float | None = flag("price of one core per hour", None, metavar="P", group=_PRICES)
    cores_per_gpu: float | None = flag(
        "cores that are included in the price of a GPU (default: 0)",
        None,
        metavar="N",
        group=_PRICES,
    )
    storage_mb_per_s: float | None = flag(
        "storage throughput for all decoders together, in megabytes per second",
        None,
        metavar="X",
        group=_LIMITS,
    )
    storage_requests_per_s: float | None = flag(
        "requests per second that the storage serves", None, metavar="X", group=_LIMITS
    )
    rows_per_s: float | None = flag(
        "units per second that one driver handles (default: by the size of blocks)",
        None,
        metavar="X",
        group=_LIMITS,
    )
    commits_per_s: float | None = flag(
        "result files per second that can be written and committed",
        None,
        metavar="X",
        group=_LIMITS,
    )
    preemptions: float = flag(
        "preemptions per machine and hour, such as 0.05 for spot machines",
        0.0,
        metavar="RATE",
        group=_LIMITS,
    )

    def __post_init__(self) -> None:
        """Refuses wrong values before anything is measured, which takes a minute."""
        for each in fields(self):
            value, name = getattr(self, each.name), each.name.replace("_", "-")
            if not isinstance(value, int | float):
                continue
            if each.name in _MAY_BE_ZERO and not 0 <= value < math.inf:
                raise UsageError(f"--{name} must be 0 or more; got {value:g}")
            if each.name not in _MAY_BE_ZERO and not 0 < value < math.inf:
                raise UsageError(f"--{name} must be above 0; got {value:g}")
        if self.videos is not None and self.archive_hours is not None:
            raise UsageError("give --videos or --archive-hours, not both")

    @property
    def limits(self) -> Limits:
        """What more machines do not raise."""
        megabytes = self.storage_mb_per_s
        return Limits(
            storage_bytes_per_s=None if megabytes is None else 1e6 * megabytes,
            storage_requests_per_s=self.storage_requests_per_s,
            rows_per_s=self.rows_per_s,
            commits_per_s=self.commits_per_s,
        )

    def prices_or(self, file: Path | None) -> Prices | None:
        """The prices of these flags or of a file; None without either.

        Raises:
            UsageError: both are given, or a price is missing.
        """
        given = self.gpu_price is not None or self.core_price is not None
        if file is not None:
            if given:
                raise UsageError("give either --prices or --gpu-price and --core-price, not both")
            if self.cores_per_gpu is not None:
                raise UsageError(
                    "--cores-per-gpu cannot be used with --prices; set gpu_cores in the price file"
                )
            return Prices.read(file)
        if not given:
            return None
        if self.core_price is None:
            raise UsageError("--gpu-price needs --core-price: decoding runs on cores")
        return Prices(
            gpu_hour=self.gpu_price or 0.0,
            core_hour=self.core_price or 0.0,
            gpu_cores=self.cores_per_gpu or 0.0,
        )
