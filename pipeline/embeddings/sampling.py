"""A sample of a run's videos that holds one unit of each, in bounded memory."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from workers.embeddings import Vectors

# 4,096 vectors of 1,408 channels are 12 MB. A share of 2,048 held-out videos has an interval of
# two points to either side.
SAMPLE_VIDEOS = 4096


@dataclass(frozen=True)
class SampledUnit:
    """A unit of a sample.

    Attributes:
        video_id: its video.
        unit_id: the unit.
        label: its label.
        is_held_out: whether it belongs to the half by which a shift is measured; the other half
            tells what to look for. Both runs put a video into the same half.
        vector: (d,) float16, mean of its embeddings; None of a run without them.
    """

    video_id: str
    unit_id: str
    label: str
    is_held_out: bool
    vector: Vectors | None = None


@dataclass
class VideoSample:
    """The `capacity` videos whose ids have the lowest digests, and of each the unit that has.

    The sample depends on the ids alone: not on the order of the rows, and two runs that hold the
    same videos sample the same ones. It holds one segment of a recording, since segments of one
    recording look alike, and intervals are those of independent things.

    Attributes:
        capacity: largest number of videos.
    """

    capacity: int = SAMPLE_VIDEOS
    _units: dict[bytes, tuple[bytes, SampledUnit]] = field(default_factory=dict)
    _largest: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.capacity < 1:
            raise ValueError(f"capacity must be 1 or more; got {self.capacity}")

    def __len__(self) -> int:
        return len(self._units)

    def add(
        self,
        video_ids: Sequence[str],
        unit_ids: Sequence[str],
        labels: Sequence[str],
        vectors: Vectors | None = None,
    ) -> None:
        """Adds n units.

        Args:
            video_ids: (n,) their videos.
            unit_ids: (n,) the units.
            labels: (n,) their labels.
            vectors: (n, d) float16, the mean of the embeddings of each; None without embeddings.
        """
        for row, (video_id, unit_id) in enumerate(zip(video_ids, unit_ids, strict=True)):
            key, rank = digest(video_id), digest(unit_id)
            known = self._units.get(key)
            if known is None and len(self._units) >= self.capacity and key > self._limit():
                continue
            if known is not None and known[0] <= rank:
                continue
            vector = None if vectors is None else vectors[row].copy()
            unit = SampledUnit(video_id, unit_id, labels[row], is_held_out(video_id), vector)
            self._units[key] = (rank, unit)
            if known is None:
                heapq.heappush(self._largest, _inverted(key))
                if len(self._units) > self.capacity:
                    del self._units[_inverted(heapq.heappop(self._largest))]

    def _limit(self) -> bytes:
        return _inverted(self._largest[0])

    def units(self) -> list[SampledUnit]:
        """The units, by the digest of their video."""
        return [self._units[key][1] for key in sorted(self._units)]

    def vectors(self) -> npt.NDArray[np.float32]:
        """(n, d) float32, of `units`.

        Raises:
            ValueError: there are none, or they have no embeddings.
        """
        vectors = [unit.vector for unit in self.units() if unit.vector is not None]
        if not vectors or len(vectors) < len(self):
            raise ValueError("a sample without embeddings has no vectors")
        return np.stack(vectors).astype(np.float32)


def digest(name: str) -> bytes:
    """Eight bytes by which a sample chooses."""
    return hashlib.blake2b(name.encode(errors="surrogatepass"), digest_size=8).digest()


def is_held_out(video_id: str) -> bool:
    """Whether a video belongs to the half by which shifts are measured."""
    return bool(digest(f"half {video_id}")[0] & 1)


def _inverted(key: bytes) -> bytes:
    """The key in reverse order, since a heap has its smallest entry at the top."""
    return bytes(255 - each for each in key)
