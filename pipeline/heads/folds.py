"""Stratified folds and subsets: each class is spread evenly over them."""

from __future__ import annotations

import numpy as np

from pipeline.heads.samples import Ints

# Videos of a class that cannot be cross-validated, since no fold could be trained without them.
ALWAYS_TRAINING = -1


def stratified_folds(strata: Ints, count: int, draw: np.random.Generator) -> Ints:
    """(n,) fold of each video, 0 to count - 1.

    The folds differ in size by one video at most, and so do the videos of a class in them. A video
    that is alone in its class is `ALWAYS_TRAINING`.

    Args:
        strata: (n,) class of each video.
        count: of folds, 2 or more.
        draw: random numbers.
    """
    folds = np.full(len(strata), ALWAYS_TRAINING, np.int64)
    dealt = 0
    for each in np.unique(strata):
        members = draw.permutation(np.flatnonzero(strata == each))
        if len(members) > 1:
            folds[members] = (dealt + np.arange(len(members))) % count
            dealt += len(members)
    return folds


def stratified_subset(strata: Ints, share: float, draw: np.random.Generator) -> Ints:
    """Indices, sorted, of a share of the videos of each class; one at least."""
    chosen = []
    for each in np.unique(strata):
        members = draw.permutation(np.flatnonzero(strata == each))
        chosen.append(members[: max(1, round(share * len(members)))])
    return np.sort(np.concatenate(chosen))
