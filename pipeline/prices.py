"""Prices of machines and storage, and the only place where money is computed.

The work of a run is priced by what its rows record: device time on the GPUs or cores of the
labelers of the attempt that made the row (`pipeline.run.attempt_rows`), decoding on cores, bytes
and requests. A cluster is priced by the GPUs and cores that it has and for how long.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt
import yaml

from pipeline.errors import UsageError

# One number, or an array with one number per video.
Amount = TypeVar("Amount", float, npt.NDArray[np.float64])


@dataclass(frozen=True)
class DeviceTime(Generic[Amount]):
    """Time on GPUs and on cores.

    Attributes:
        gpu_s: GPU-seconds.
        core_s: core-seconds.
    """

    gpu_s: Amount
    core_s: Amount


@dataclass(frozen=True)
class Used(Generic[Amount]):
    """What labeling used.

    Attributes:
        labeling: time of the labelers' devices.
        decode_s: core-seconds of fetching and decoding.
        bytes_read: bytes read from storage.
        gets: read requests to object storage, one per unit.
    """

    labeling: DeviceTime[Amount]
    decode_s: Amount
    bytes_read: Amount
    gets: Amount


@dataclass(frozen=True)
class WorkCost(Generic[Amount]):
    """Cost of the work: money for what labeling used."""

    labeling: Amount
    decoding: Amount
    reading: Amount

    @property
    def total(self) -> Amount:
        """All of it."""
        return self.labeling + self.decoding + self.reading


@dataclass(frozen=True)
class Prices:
    """Prices of what a run uses.

    Attributes:
        gpu_hour: one GPU for an hour, with the cores and memory that come with it.
        core_hour: one CPU core for an hour, on machines without a GPU.
        read_gb: reading 10^9 bytes from storage, 0 within a region.
        get_1000: a thousand read requests to object storage.
        currency: what they are in.
        gpu_cores: cores that come with each GPU within `gpu_hour`, so that none is charged twice.
    """

    gpu_hour: float
    core_hour: float
    read_gb: float = 0.0
    get_1000: float = 0.0
    currency: str = "USD"
    gpu_cores: float = 0.0

    def __post_init__(self) -> None:
        for name in ("gpu_hour", "core_hour", "read_gb", "get_1000", "gpu_cores"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise UsageError(f"the price {name} must be a number; got {value!r}")
            if not (math.isfinite(value) and value >= 0):
                raise UsageError(f"the price {name} must be 0 or more; got {value}")
        if self.gpu_cores * self.core_hour > self.gpu_hour:
            raise UsageError(
                f"gpu_hour ({self.gpu_hour}) is less than the {self.gpu_cores} cores that come "
                f"with a GPU cost by themselves (core_hour {self.core_hour})"
            )
        if not isinstance(self.currency, str) or not self.currency:
            raise UsageError(f"currency must be a name such as USD; got {self.currency!r}")

    @classmethod
    def read(cls, path: Path) -> Prices:
        """The prices in a YAML file of one `name: number` per line.

        Raises:
            UsageError: the message says what is allowed.
        """
        try:
            content = yaml.safe_load(path.read_text())
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise UsageError(f"prices {path}: {' '.join(str(error).split())}") from error
        try:
            return cls.from_json(content)
        except UsageError as error:
            raise UsageError(f"prices {path}: {error}") from error

    @classmethod
    def from_json(cls, content: Any) -> Prices:
        """What `as_json` gave, or a user wrote.

        Raises:
            UsageError: the message says what is allowed.
        """
        fields = dataclasses.fields(cls)
        names = [field.name for field in fields]
        needed = [field.name for field in fields if field.default is dataclasses.MISSING]
        if not isinstance(content, dict) or not all(name in content for name in needed):
            raise UsageError(
                f"name at least {' and '.join(needed)}, one `name: number` per line; also allowed: "
                f"{', '.join(name for name in names if name not in needed)}"
            )
        unknown = [str(name) for name in content if name not in names]
        if unknown:
            raise UsageError(f"unknown: {', '.join(unknown)}; allowed are {', '.join(names)}")
        return cls(**content)

    def as_json(self) -> dict[str, Any]:
        """For run.json."""
        return dataclasses.asdict(self)

    @property
    def core_second(self) -> float:
        """One core for a second."""
        return self.core_hour / 3600

    def work(self, used: Used[Amount]) -> WorkCost[Amount]:
        """Cost of the work."""
        return WorkCost(
            labeling=self.device(used.labeling),
            decoding=used.decode_s * self.core_second,
            reading=self.reading(used.bytes_read, used.gets),
        )

    def device(self, time: DeviceTime[Amount]) -> Amount:
        """GPU-seconds, each without the cores that come with a GPU, and core-seconds."""
        return time.gpu_s * self._gpu_alone_second + time.core_s * self.core_second

    def cluster(self, time: DeviceTime[float], bytes_read: float, gets: float) -> float:
        """Cost of the cluster: of its GPUs and cores, busy or not, and of reading.

        Args:
            time: GPU-seconds and core-seconds of the whole cluster. At least the cores that come
                with its GPUs are charged.
            bytes_read: bytes read from storage.
            gets: read requests to object storage.
        """
        core_s = max(time.core_s, time.gpu_s * self.gpu_cores)
        return self.device(DeviceTime(time.gpu_s, core_s)) + self.reading(bytes_read, gets)

    def reading(self, bytes_read: Amount, gets: Amount) -> Amount:
        """Bytes and requests."""
        return bytes_read * (self.read_gb / 1e9) + gets * (self.get_1000 / 1000)

    @property
    def _gpu_alone_second(self) -> float:
        """A GPU without the cores that come with it, which are charged apart."""
        return self.gpu_hour / 3600 - self.gpu_cores * self.core_second
