"""Algorithm 1 of the paper, one clip and one frame at a time: the reference for `sta.score`."""

import torch

from sta.pruning import Pruning, PruningStage


def plain_select_tokens(
    x: torch.Tensor, keys: torch.Tensor, *, pruning: Pruning, stage: PruningStage
) -> torch.Tensor:
    """As `sta.score.select_tokens`, by the book: x (B, G, n, d), keys (B, G, n, d')."""
    return torch.stack(
        [_one_clip(x[b], keys[b], pruning=pruning, stage=stage) for b in range(x.shape[0])]
    )


def _one_clip(x, keys, *, pruning, stage):
    frames = list(range(stage.groups))
    if stage.backward:
        frames.reverse()
    n, r = stage.tokens, stage.drop
    keys = keys / keys.norm(dim=-1, keepdim=True)
    kept = {}

    first = frames[0]
    kept[first] = _drop_most_similar_candidates(keys[first], r)

    if pruning.grouping == "paper":
        old_places = torch.tensor(sorted(kept[first]))
    else:
        old_places = torch.arange(n)
    mass = torch.full((len(old_places),), 1 / len(old_places), dtype=x.dtype)
    old_keys = keys[first][old_places]

    for frame in frames[1:]:
        affinity = keys[frame] @ old_keys.T / pruning.temperature
        probability = torch.exp(affinity) / torch.exp(affinity).sum(dim=0, keepdim=True)
        mass = probability @ mass
        activation = x[frame].abs().sum(dim=-1)
        importance = (activation - activation.min()) / (activation.max() - activation.min())
        score = {"sta": mass * (1 - importance), "redundancy": mass, "semantics": 1 - importance}
        order = sorted(range(n), key=lambda place: (score[pruning.score][place].item(), place))
        kept[frame] = order[: n - r]
        places = torch.tensor(kept[frame])
        mass = mass[places] / mass[places].sum()
        old_keys = keys[frame][places]

    rows = [kept[frame] for frame in range(stage.groups)]
    if pruning.grouping == "paper":
        rows = [sorted(row) for row in rows]
    return torch.tensor(rows)


def _drop_most_similar_candidates(keys, r):
    n = len(keys)
    candidates, anchors = range(0, n, 2), range(1, n, 2)
    if r > len(candidates):
        left = _drop_most_similar_candidates(keys[1::2], r - len(candidates))
        return [anchors[place] for place in left]
    similarity = {c: max(float(keys[c] @ keys[a]) for a in anchors) for c in candidates}
    ranked = sorted(candidates, key=lambda c: (similarity[c], c))
    return [*anchors, *ranked][: n - r]
