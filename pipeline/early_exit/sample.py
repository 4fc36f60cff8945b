"""A finished sweep run as the arrays that policies are fitted on."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from pipeline.early_exit.margins import Bools, Ints, Looks
from pipeline.run.run_directory import RunDirectory
from pipeline.run.sweep_tables import read_sweep
from workers.sampling import Protocol

_UNKNOWN = -1


@dataclass(frozen=True)
class Sample:
    """Videos whose views were all labeled, in the order of their unit ids.

    Attributes:
        video_ids: (n,)
        looks: of the pruning that the policy is for.
        ground_truths: (n,) number of the class, -1 where none is given or the model has no such
            class.
        order: numbers of the views in the order in which they are looked at.
        failed: videos that could not be labeled and are left out.
    """

    video_ids: tuple[str, ...]
    looks: Looks
    ground_truths: Ints
    order: tuple[int, ...]
    failed: int

    @property
    def fitting_half(self) -> Bools:
        """(n,) the half that is fitted on where the other is held out: chosen by a hash of the
        video's id, so that a video is in the same half of every sample.
        """
        return np.array([_is_even(video_id) for video_id in self.video_ids], np.bool_)


def read_sample(run: RunDirectory, variant: str) -> Sample:
    """The sample that a finished sweep run holds.

    Args:
        run: of sweep.
        variant: name of the pruning that the policy is for.

    Raises:
        UsageError: the folder holds no finished sweep.
    """
    content = run.load()
    protocol, labels = content["identity"]["protocol"], content["model"]["labels"]
    looked = Protocol(**protocol).views_in_order
    order = tuple(clip * protocol["crops"] + crop for clip, crop in looked)
    numbers = {label: number for number, label in enumerate(labels)}
    unit_ids: list[str] = []
    video_ids: list[str] = []
    ground_truths: list[int] = []
    looks = [Looks(np.empty((0, len(order))), np.empty((0, len(order)), np.int64))]
    failed = 0
    for chunk in read_sweep(run):
        unit_ids += chunk.unit_ids
        video_ids += chunk.video_ids
        ground_truths += [
            numbers.get(ground_truth or "", _UNKNOWN) for ground_truth in chunk.ground_truths
        ]
        looks.append(Looks.of_probabilities(chunk.probabilities[variant], order))
        failed += chunk.failed
    sorted_places = np.argsort(np.array(unit_ids, dtype=np.str_))
    return Sample(
        video_ids=tuple(video_ids[place] for place in sorted_places),
        looks=Looks.joined(looks).of(sorted_places),
        ground_truths=np.array(ground_truths, np.int64)[sorted_places],
        order=order,
        failed=failed,
    )


def _is_even(video_id: str) -> bool:
    return hashlib.blake2b(video_id.encode(), digest_size=1).digest()[0] % 2 == 0
