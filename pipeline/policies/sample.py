"""A finished trials run as the arrays that policies are fitted on."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.policies.looks import Bools, Floats, Ints, Looks
from pipeline.policies.rungs import Ladder
from pipeline.run_directory import RunDirectory
from pipeline.trials import read_trials
from workers.sampling import Protocol

_UNKNOWN = -1


@dataclass(frozen=True)
class Sample:
    """Videos whose views were all labelled, in the order of their unit ids.

    Attributes:
        video_ids: (n,)
        looks: of the pruning that the policy is for.
        truths: (n,) true label's number, -1 where none is given or the model has no such class.
        flops_per_view: mean, of that pruning.
        order: numbers of the views in the order in which they are looked at.
        failed: videos that could not be labelled and are left out.
        ladder: what other prunings say, None where there are none.
    """

    video_ids: tuple[str, ...]
    looks: Looks
    truths: Ints
    flops_per_view: float
    order: tuple[int, ...]
    failed: int
    ladder: Ladder | None

    @property
    def fitting_half(self) -> Bools:
        """(n,) the half that is fitted on where the other is held out: chosen by a hash of the
        video's id, so that a video is in the same half of every sample.
        """
        return np.array([_is_even(video_id) for video_id in self.video_ids], np.bool_)


def read_sample(run: RunDirectory, variant: str, ladder: Sequence[tuple[int, str]] = ()) -> Sample:
    """The sample that a finished trials run holds.

    A ladder's probabilities are held in memory: 4 bytes times rungs, views and classes per video.

    Args:
        run: of trials.
        variant: name of the pruning that the policy is for.
        ladder: drop number and name of each rung, ascending.

    Raises:
        UsageError: the folder holds no finished trials.
    """
    content = run.load()
    protocol, labels = content["identity"]["protocol"], content["model"]["labels"]
    looked = Protocol(**protocol).look_order
    order = tuple(clip * protocol["crops"] + crop for clip, crop in looked)
    numbers = {label: number for number, label in enumerate(labels)}
    unit_ids: list[str] = []
    video_ids: list[str] = []
    truths: list[int] = []
    looks = [Looks(np.empty((0, len(order))), np.empty((0, len(order)), np.int64))]
    said: list[Floats] = []
    changes: list[Floats] = []
    flops = dict.fromkeys([variant, *(name for _, name in ladder)], 0)
    failed = 0
    for chunk in read_trials(run):
        unit_ids += chunk.unit_ids
        video_ids += chunk.video_ids
        truths += [numbers.get(truth or "", _UNKNOWN) for truth in chunk.truths]
        looks.append(Looks.of_probabilities(chunk.probabilities[variant], order))
        for name in flops:
            flops[name] += int(chunk.flops[name].sum())
        if ladder:
            said.append(np.stack([chunk.probabilities[name] for _, name in ladder]))
            changes.append(chunk.changes)
        failed += chunk.failed
    sorted_places = np.argsort(np.array(unit_ids, dtype=np.str_))
    views = max(1, len(unit_ids)) * len(order)
    return Sample(
        video_ids=tuple(video_ids[place] for place in sorted_places),
        looks=Looks.joined(looks).of(sorted_places),
        truths=np.array(truths, np.int64)[sorted_places],
        flops_per_view=flops[variant] / views,
        order=order,
        failed=failed,
        ladder=Ladder(
            rs=tuple(r for r, _ in ladder),
            flops=np.array([flops[name] / views for _, name in ladder]),
            probabilities=np.concatenate(said, axis=1)[:, sorted_places],
            changes=np.concatenate(changes)[sorted_places],
        )
        if said
        else None,
    )


def _is_even(video_id: str) -> bool:
    return hashlib.blake2b(video_id.encode(), digest_size=1).digest()[0] % 2 == 0
