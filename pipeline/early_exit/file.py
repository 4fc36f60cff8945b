"""The early-exit file: a fitted threshold, what it was fitted for, and its guarantee."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from typing import Any

from pipeline.errors import UsageError
from pipeline.run.differences import differences
from pipeline.run.identity import Identity
from pipeline.storage.location import Location
from workers.inference.early_exit import EarlyExit
from workers.precisions import Precision

VERSION = 2

# What must be the same in the calibration and in a run that uses its threshold.
_BOUND = ("model", "labels", "pruning", "protocol", "precision", "decoder", "decode")


@dataclass(frozen=True)
class OperatingPoint:
    """One threshold, measured on the videos of the calibration.

    Attributes:
        threshold: of `EarlyExit`.
        agreement: share of videos that keep the label of all views, decoded exactly.
        low: its one-sided lower bound, at the file's confidence or a higher one.
        views: mean evaluated views per video.
        views_sd: their standard deviation over the videos.
    """

    threshold: float
    agreement: float
    low: float
    views: float
    views_sd: float


@dataclass(frozen=True)
class EarlyExitFile:
    """A fitted early-exit threshold.

    Attributes:
        model: fingerprint of the weights.
        labels: fingerprint of the class names.
        pruning: the pruning, as in run.json's identity.
        protocol: the protocol, as in run.json's identity.
        precision: what the model computed in.
        decoder: name of the decoder, whose frames of all views give the labels to keep.
        decode: how frames are decoded, "exact" or "fast"; the guarantee holds for this mode alone.
        agreement: guaranteed share of videos that keep the label of all views, decoded exactly.
        confidence: of that guarantee.
        threshold: the one that meets the guarantee with the fewest views.
        videos: how many it was fitted on.
        source: where they came from.
        curve: every threshold that was tried, in descending order.
    """

    model: str
    labels: str
    pruning: dict[str, Any]
    protocol: dict[str, Any]
    precision: Precision
    decoder: str
    decode: str
    agreement: float
    confidence: float
    threshold: float
    videos: int
    source: str
    curve: tuple[OperatingPoint, ...]

    @property
    def early_exit(self) -> EarlyExit:
        """Early exit at the fitted threshold."""
        return EarlyExit(self.threshold)

    @property
    def point(self) -> OperatingPoint:
        """The curve at the fitted threshold."""
        return next(point for point in self.curve if point.threshold == self.threshold)

    @property
    def saves_views(self) -> bool:
        """Whether the fitted threshold leaves out a view of any video of the calibration."""
        return bool(self.point.views < self.protocol["clips"] * self.protocol["crops"])

    @property
    def digest(self) -> str:
        """Hash of the curve, from which a budget chooses thresholds."""
        points = json.dumps([dataclasses.asdict(point) for point in self.curve])
        return hashlib.blake2b(points.encode(), digest_size=8).hexdigest()

    def write(self, place: Location) -> None:
        """Writes the file whole."""
        content = {"version": VERSION} | dataclasses.asdict(self)
        place.write_bytes(json.dumps(content, indent=2, ensure_ascii=False).encode() + b"\n")

    @classmethod
    def read(cls, place: Location) -> EarlyExitFile:
        """The file that `write` wrote.

        Raises:
            UsageError: the file is missing, or no early-exit file of this version.
        """
        try:
            content = json.loads(place.read_bytes())
            if content.pop("version") != VERSION:
                raise ValueError("another version")
            curve = tuple(OperatingPoint(**point) for point in content.pop("curve"))
            read = cls(**content, curve=curve)
            assert read.point
        except FileNotFoundError as error:
            raise UsageError(f"there is no early-exit file {place.uri}") from error
        except (ValueError, KeyError, TypeError, StopIteration, AttributeError) as error:
            raise UsageError(
                f"{place.uri} is not an early-exit file of this version; write it with "
                f"jobs/calibrate.py"
            ) from error
        return read

    def check_fits(self, identity: Identity, where: str) -> None:
        """Refuses a run that the threshold was not fitted for.

        Args:
            identity: of the run.
            where: name of the file in the message.

        Raises:
            UsageError: the message lists every field that differs.
        """
        mine = dataclasses.asdict(self)
        now = identity.to_json() | {"decode": identity.decode}
        bound, asked = ({name: each.get(name) for name in _BOUND} for each in (mine, now))
        differing = differences(bound, asked, places=("in the early-exit file", "now"))
        if differing:
            raise UsageError(
                f"{where} was fitted for another labeling: {'; '.join(differing)}. "
                f"Fit one for this with jobs/calibrate.py"
            )
