"""The STA score (paper, section 3.2) as pure functions.

A stage looks at its tokens as groups along time, (B, G, n, d): B clips, G groups of n tokens. It
answers with the places, within each group, of the tokens to keep. Every transition of a stage is a
softmax over the new, still unpruned group, so all of them are computed at once; only a masked
matrix-vector product, a sort and a renormalization go from group to group.

Shapes depend on the configuration alone and nothing is read back from the device, so a model that
calls this can be compiled whole and captured in a CUDA graph. Scores are float32 or wider.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sta.pruning import Pruning, Stage


def semantic_score(x: Tensor) -> Tensor:
    """Activation of each token, scaled to [0, 1] over its group (equation 4).

    Args:
        x: (..., n, d) token embeddings.

    Returns:
        (..., n) sums of |x| over channels, min-max normalized over the n tokens. Where all tokens
        of a group are equally active the score is 0, not a division by zero.
    """
    activation = x.abs().sum(dim=-1)
    low = activation.amin(dim=-1, keepdim=True)
    spread = activation.amax(dim=-1, keepdim=True) - low
    flat = spread == 0
    return (activation - low).masked_fill(flat, 0.0) / spread.masked_fill(flat, 1.0)


def unit_keys(keys: Tensor) -> Tensor:
    """Keys (..., n, d) scaled to length 1; a zero key stays zero and poisons nothing."""
    return F.normalize(keys, dim=-1, eps=1e-12)


def transitions(keys: Tensor, *, temperature: float = 1.0) -> Tensor:
    """Transition probabilities between neighboring groups of a chain (equation 3).

    Args:
        keys: (B, G, n, d) unit keys, groups in the order of the chain.
        temperature: divides the cosines before the softmax.

    Returns:
        (B, G - 1, n, n); entry [b, t, i, j] is the probability of going from token j of group t to
        token i of group t + 1. Columns (over i, the new group) sum to 1, so that the accumulated
        score keeps its mass; a softmax over j would leave it constant.
    """
    cosines = keys[:, 1:] @ keys[:, :-1].transpose(-1, -2)
    return (cosines / temperature).softmax(dim=-2)


def tome_order(keys: Tensor, *, drop: int) -> Tensor:
    """Tokens of one group from the most to the least worth keeping by ToMe's bipartite matching.

    Tokens at even places are candidates, tokens at odd places are anchors (paper, 4.3 "Token
    removal at the first frame"; Table 6a). One round can drop all candidates and no anchor. Where
    more have to go, as in VideoSwin's later stages, the anchors are matched again among themselves:
    of two equal anchors one is dropped, not both.

    Args:
        keys: (B, n, d) unit keys.
        drop: how many tokens will be dropped, less than n.

    Returns:
        (B, n) places. Dropping the last `drop` drops the most redundant candidates: by ascending
        similarity to their nearest anchor they stand last, after the anchors. These stand in the
        order of their places or, if some of them are to go too, in that of their own matching.
    """
    n = keys.shape[1]
    places = torch.arange(n, device=keys.device)
    candidates, anchors = places[0::2], places[1::2].expand(keys.shape[0], -1)
    nearest = (keys[:, 0::2] @ keys[:, 1::2].transpose(-1, -2)).amax(dim=-1)
    ranked = candidates[nearest.argsort(dim=-1, stable=True)]
    if drop > len(candidates):
        again = tome_order(keys[:, 1::2], drop=drop - len(candidates))
        anchors = anchors.gather(-1, again)
    return torch.cat([anchors, ranked], dim=-1)


def random_kept(rng: np.random.Generator, *, tokens: int, drop: int) -> np.ndarray:
    """Ascending places, int64 (tokens - drop,), left when `drop` random tokens go."""
    return np.sort(rng.permutation(tokens)[drop:])


def grid_kept(
    rng: np.random.Generator, *, tokens: int, drop: int, side: tuple[int, int] | None = None
) -> np.ndarray:
    """Ascending places left when one random token per cell goes (Table 6a, "Grid").

    Args:
        rng: where the randomness comes from.
        tokens: tokens in the group.
        drop: number of cells.
        side: (height, width) of the group where it is one whole frame: cells are then the blocks
            of an a x b split with a * b = drop, as square as drop allows. Without it, or where
            such a split does not fit the frame, cells are runs of neighboring places.

    Returns:
        int64 (tokens - drop,).
    """
    cells = np.arange(tokens) * drop // tokens
    if side is not None:
        height, width = side
        rows = max(a for a in range(1, int(drop**0.5) + 1) if drop % a == 0)
        columns = drop // rows
        if rows <= height and columns <= width:
            y, x = np.divmod(np.arange(tokens), width)
            cells = (y * rows // height) * columns + x * columns // width
    gone = [rng.choice(np.flatnonzero(cells == cell)) for cell in range(drop)]
    return np.setdiff1d(np.arange(tokens), gone)


def fixed_kept(pruning: Pruning, stage: Stage, *, side: tuple[int, int] | None) -> Tensor | None:
    """Choices of a stage that depend on no clip: (G or 1, kept) int64, or None if there are none.

    `score="random"` fixes every group; `first_frame="random"` or `"grid"` fixes the group that
    starts the chain.
    """
    rng = np.random.default_rng([pruning.seed, stage.block])
    if pruning.score == "random":
        rows = [random_kept(rng, tokens=stage.tokens, drop=stage.drop) for _ in range(stage.groups)]
    elif pruning.first_frame == "random":
        rows = [random_kept(rng, tokens=stage.tokens, drop=stage.drop)]
    elif pruning.first_frame == "grid":
        rows = [grid_kept(rng, tokens=stage.tokens, drop=stage.drop, side=side)]
    else:
        return None
    return torch.from_numpy(np.stack(rows))


def kept_places(
    x: Tensor, keys: Tensor, *, pruning: Pruning, stage: Stage, fixed: Tensor | None = None
) -> Tensor:
    """Places of the tokens that a stage keeps (Algorithm 1).

    Args:
        x: (B, G, n, d) output of the block.
        keys: (B, G, n, d') what is compared between groups, averaged over heads; any scale.
        pruning: the switches.
        stage: groups, tokens, tokens to drop and direction.
        fixed: what `fixed_kept` gave for this stage.

    Returns:
        (B, G, n - drop) int64 places within each group, groups in time order. With grouping
        "released" the places are in score order, which the next stage's first step depends on;
        with "paper" they ascend. Ties go to the lower place.
    """
    batch = x.shape[0]
    if pruning.score == "random":
        assert fixed is not None
        return fixed.expand(batch, -1, -1)
    with torch.autocast(x.device.type, enabled=False):
        dtype = torch.promote_types(x.dtype, torch.float32)
        x, keys = x.to(dtype), unit_keys(keys.to(dtype))
        if stage.backward:
            x, keys = x.flip(1), keys.flip(1)
        if fixed is None:
            fixed = tome_order(keys[:, 0], drop=stage.drop)
        first = fixed.expand(batch, -1)[:, : stage.kept]
        kept = torch.stack(_accumulate(x, keys, first, pruning=pruning, stage=stage), dim=1)
    if stage.backward:
        kept = kept.flip(1)
    if pruning.grouping == "paper":
        kept = kept.sort(dim=-1).values
    return kept


def _accumulate(
    x: Tensor, keys: Tensor, first: Tensor, *, pruning: Pruning, stage: Stage
) -> list[Tensor]:
    """Walks the chain of equations 2, 3 and 5; one (B, kept) tensor of places per group."""
    worth = 1 - semantic_score(x)
    kept = [first]
    if stage.groups == 1:
        return kept
    if pruning.score == "semantics":
        rest = worth[:, 1:].argsort(dim=-1, stable=True)[..., : stage.kept]
        return kept + list(rest.unbind(1))
    step = transitions(keys, temperature=pruning.temperature)
    mass = torch.full_like(worth[:, 0], 1 / stage.tokens)
    if pruning.grouping == "paper":
        mass = _restart(mass, first)
    for group in range(1, stage.groups):
        mass = (step[:, group - 1] @ mass.unsqueeze(-1)).squeeze(-1)
        score = mass if pruning.score == "redundancy" else mass * worth[:, group]
        chosen = score.argsort(dim=-1, stable=True)[:, : stage.kept]
        kept.append(chosen)
        mass = _restart(mass, chosen)
    return kept


def _restart(mass: Tensor, kept: Tensor) -> Tensor:
    """Mass (B, n) of the kept tokens alone, with sum 1 again (Algorithm 1, "first-order norm")."""
    alive = torch.zeros_like(mass).scatter(-1, kept, 1.0) * mass
    return alive / alive.sum(dim=-1, keepdim=True)


def score_flops(pruning: Pruning, stage: Stage, compared: int) -> int:
    """Multiply-accumulates of `kept_places` on one clip.

    ToMe's matching in the first group, then one transition and one step of the chain per group.

    Args:
        pruning: the switches.
        stage: groups, tokens and drop number.
        compared: channels d' of what is compared.
    """
    if pruning.score == "random":
        return 0
    flops = _tome_flops(stage.tokens, stage.drop, compared) if pruning.first_frame == "tome" else 0
    if pruning.score == "semantics":
        return flops
    return flops + (stage.groups - 1) * stage.tokens**2 * (compared + 1)


def _tome_flops(tokens: int, drop: int, compared: int) -> int:
    anchors = tokens // 2
    candidates = tokens - anchors
    flops = candidates * anchors * compared
    if drop > candidates:
        flops += _tome_flops(anchors, drop - candidates, compared)
    return flops
