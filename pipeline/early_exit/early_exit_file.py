"""The policy file: when to stop looking at a video, for which model, and what was promised."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from typing import Any

from pipeline.errors import UsageError
from pipeline.run.differences import differences
from pipeline.storage.location import Location
from workers.inference.early_exit import EarlyExit

POLICY_VERSION = 1

# What must be the same where a policy is used as where it was fitted.
_BOUND = ("model", "labels", "pruning", "protocol")


@dataclass(frozen=True)
class Point:
    """What one policy did on the videos that it was fitted on.

    Attributes:
        threshold: of `EarlyExit`.
        agreement: share of videos whose label was that of all views.
        low: lower end of its one-sided interval, at the file's confidence.
        views: mean views per video.
        views_sd: their standard deviation over the videos.
    """

    threshold: float
    agreement: float
    low: float
    views: float
    views_sd: float


@dataclass(frozen=True)
class EarlyExitFile:
    """A fitted policy.

    Attributes:
        model: fingerprint of the weights.
        labels: fingerprint of the class names.
        pruning: the pruning, as in run.json's identity.
        protocol: the protocol, as in run.json's identity.
        agreement: the promise: the share of videos whose label is that of all views, at least.
        confidence: how sure the promise is.
        threshold: of the policy that keeps the promise with the fewest views.
        videos: how many it was fitted on.
        source: where they came from.
        curve: what policies from the most careful to the quickest did, in this order.
    """

    model: str
    labels: str
    pruning: dict[str, Any]
    protocol: dict[str, Any]
    agreement: float
    confidence: float
    threshold: float
    videos: int
    source: str
    curve: tuple[Point, ...]

    @property
    def early_exit(self) -> EarlyExit:
        """The policy that keeps the promise."""
        return EarlyExit(self.threshold)

    @property
    def point(self) -> Point:
        """What it did on the videos that it was fitted on."""
        return next(point for point in self.curve if point.threshold == self.threshold)

    @property
    def digest(self) -> str:
        """Identity of the curve, by which budgets are decided."""
        points = json.dumps([dataclasses.asdict(point) for point in self.curve])
        return hashlib.blake2b(points.encode(), digest_size=8).hexdigest()

    def write(self, place: Location) -> None:
        """Writes the file whole."""
        content = {"version": POLICY_VERSION} | dataclasses.asdict(self)
        place.write_bytes(json.dumps(content, indent=2, ensure_ascii=False).encode() + b"\n")

    @classmethod
    def read(cls, place: Location) -> EarlyExitFile:
        """The file that `write` wrote.

        Raises:
            UsageError: there is none, or it is none of this version.
        """
        try:
            content = json.loads(place.read_bytes())
            if content.pop("version") != POLICY_VERSION:
                raise ValueError("another version")
            curve = tuple(Point(**point) for point in content.pop("curve"))
            read = cls(**content, curve=curve)
            assert read.point
        except FileNotFoundError as error:
            raise UsageError(f"there is no policy file {place.uri}") from error
        except (ValueError, KeyError, TypeError, StopIteration, AttributeError) as error:
            raise UsageError(
                f"{place.uri} is not a policy file of this program; jobs/calibrate.py writes one"
            ) from error
        return read

    def check_fits(self, identity: dict[str, Any], where: str) -> None:
        """Refuses a run that the policy was not fitted for.

        Args:
            identity: of the run, as in run.json.
            where: what to call the file.

        Raises:
            UsageError: the message lists every field that differs.
        """
        mine = dataclasses.asdict(self)
        bound, asked = ({name: each.get(name) for name in _BOUND} for each in (mine, identity))
        differing = differences(bound, asked, places=("in the policy file", "now"))
        if differing:
            raise UsageError(
                f"{where} was fitted for another labeling: {'; '.join(differing)}. "
                f"Fit one for this with jobs/calibrate.py"
            )
