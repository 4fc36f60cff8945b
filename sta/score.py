"""The STA score (paper, section 3.2) as pure functions.

The tokens of a pruning stage are (B, G, n, d): B clips, G groups along time, n tokens per group.
`select_tokens` returns, for each group, the indices of the tokens to keep. Each transition between
groups is a softmax over the new group before it is pruned, so all transitions are computed at once;
only a masked matrix-vector product, a sort and a renormalization run group after group.

Shapes depend on the settings alone and nothing is copied to the host, so that a model can be
compiled as one graph and captured as a CUDA graph. Scores are float32 or float64.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sta.pruning import Pruning, PruningStage


def semantic_score(x: Tensor) -> Tensor:
    """Activation of each token, scaled to [0, 1] over its group (equation 4).

    Args:
        x: (..., n, d) token embeddings.

    Returns:
        (..., n) sums of |x| over channels, min-max normalized over the n tokens; 0 where all tokens
        of a group have the same activation.
    """
    activation = x.abs().sum(dim=-1)
    low = activation.amin(dim=-1, keepdim=True)
    spread = activation.amax(dim=-1, keepdim=True) - low
    flat = spread == 0
    return (activation - low).masked_fill(flat, 0.0) / spread.masked_fill(flat, 1.0)


def unit_keys(keys: Tensor) -> Tensor:
    """Keys (..., n, d) scaled to length 1; a zero key stays zero."""
    return F.normalize(keys, dim=-1, eps=1e-12)


def transitions(keys: Tensor, *, temperature: float = 1.0) -> Tensor:
    """Transition probabilities between consecutive groups (equation 3).

    Args:
        keys: (B, G, n, d) unit keys, groups in the order of accumulation.
        temperature: divides the cosines before the softmax.

    Returns:
        (B, G - 1, n, n); entry [b, t, i, j] is the probability of going from token j of group t to
        token i of group t + 1. Columns (over i, the new group) sum to 1, so that the accumulated
        scores of a group sum to 1; with a softmax over j they would stay constant.
    """
    cosines = keys[:, 1:] @ keys[:, :-1].transpose(-1, -2)
    return (cosines / temperature).softmax(dim=-2)


def tome_ranking(keys: Tensor, *, drop: int) -> Tensor:
    """Ranks the tokens of one group by ToMe's bipartite matching, the most redundant last.

    Tokens with even indices are candidates, tokens with odd indices are anchors (paper, 4.3 "Token
    removal at the first frame"; Table 6a). One round of matching can drop all candidates and no
    anchor. If more tokens must be dropped, as in VideoSwin's later stages, the anchors are matched
    among themselves in the same way, so that one of two equal anchors is dropped and not both.

    Args:
        keys: (B, n, d) unit keys.
        drop: how many tokens will be dropped, less than n.

    Returns:
        (B, n) indices: anchors, then candidates by ascending similarity to their nearest anchor.
        The last `drop` are the tokens to drop. Anchors are in index order, or in the order of their
        own matching if some of them are dropped too.
    """
    n = keys.shape[1]
    indices = torch.arange(n, device=keys.device)
    candidates, anchors = indices[0::2], indices[1::2].expand(keys.shape[0], -1)
    nearest = (keys[:, 0::2] @ keys[:, 1::2].transpose(-1, -2)).amax(dim=-1)
    ranked = candidates[nearest.argsort(dim=-1, stable=True)]
    if drop > len(candidates):
        again = tome_ranking(keys[:, 1::2], drop=drop - len(candidates))
        anchors = anchors.gather(-1, again)
    return torch.cat([anchors, ranked], dim=-1)


def random_selection(rng: np.random.Generator, *, tokens: int, drop: int) -> np.ndarray:
    """Ascending indices, int64 (tokens - drop,), that remain after dropping `drop` at random."""
    return np.sort(rng.permutation(tokens)[drop:])


def grid_selection(
    rng: np.random.Generator, *, tokens: int, drop: int, grid_size: tuple[int, int] | None = None
) -> np.ndarray:
    """Ascending indices that remain after dropping one random token per cell (Table 6a, "Grid").

    Args:
        rng: random generator.
        tokens: tokens in the group.
        drop: number of cells.
        grid_size: (height, width) if the group is one whole frame. Cells are then the blocks of an
            a x b split with a * b = drop, as square as possible. Without it, or if no such split
            fits the frame, cells are runs of consecutive indices.

    Returns:
        int64 (tokens - drop,).
    """
    cells = np.arange(tokens) * drop // tokens
    if grid_size is not None:
        height, width = grid_size
        rows = max(a for a in range(1, int(drop**0.5) + 1) if drop % a == 0)
        columns = drop // rows
        if rows <= height and columns <= width:
            y, x = np.divmod(np.arange(tokens), width)
            cells = (y * rows // height) * columns + x * columns // width
    dropped = [rng.choice(np.flatnonzero(cells == cell)) for cell in range(drop)]
    return np.setdiff1d(np.arange(tokens), dropped)


def fixed_selection(
    pruning: Pruning, stage: PruningStage, *, grid_size: tuple[int, int] | None
) -> Tensor | None:
    """Indices that a stage keeps in every clip: (G or 1, kept) int64; None if there are none.

    `score="random"` fixes every group; `first_frame="random"` or `"grid"` fixes the group that
    starts the accumulation.

    Args:
        pruning: the settings.
        stage: the pruning stage.
        grid_size: (height, width) of a frame in tokens; None if it is not known. It is used where
            a group is one whole frame: with grouping "released", later groups hold what is left of
            several.
    """
    if grid_size is not None and math.prod(grid_size) != stage.tokens:
        grid_size = None
    rng = np.random.default_rng([pruning.seed, stage.block])
    if pruning.score == "random":
        rows = [
            random_selection(rng, tokens=stage.tokens, drop=stage.drop) for _ in range(stage.groups)
        ]
    elif pruning.first_frame == "random":
        rows = [random_selection(rng, tokens=stage.tokens, drop=stage.drop)]
    elif pruning.first_frame == "grid":
        rows = [grid_selection(rng, tokens=stage.tokens, drop=stage.drop, grid_size=grid_size)]
    else:
        return None
    return torch.from_numpy(np.stack(rows))


def select_tokens(
    x: Tensor, keys: Tensor, *, pruning: Pruning, stage: PruningStage, fixed: Tensor | None = None
) -> Tensor:
    """Indices of the tokens that a stage keeps (Algorithm 1).

    Args:
        x: (B, G, n, d) output of the block.
        keys: (B, G, n, d') features compared between groups, averaged over heads; any scale.
        pruning: the settings.
        stage: groups, tokens, tokens to drop and direction.
        fixed: the result of `fixed_selection` for this stage.

    Returns:
        (B, G, n - drop) int64 indices within each group, groups in time order. With grouping
        "released" they are in score order, since ToMe's matching in the next stage depends on the
        order of tokens; with "paper" they are ascending. Of equal scores the lower index is kept.
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
            fixed = tome_ranking(keys[:, 0], drop=stage.drop)
        first = fixed.expand(batch, -1)[:, : stage.kept]
        kept = torch.stack(_accumulate(x, keys, first, pruning=pruning, stage=stage), dim=1)
    if stage.backward:
        kept = kept.flip(1)
    if pruning.grouping == "paper":
        kept = kept.sort(dim=-1).values
    return kept


def choose_tokens(
    x: Tensor, compared: Tensor, *, pruning: Pruning, stage: PruningStage, fixed: Tensor | None
) -> Tensor:
    """`select_tokens` of the tokens of a whole clip.

    Args:
        x: (B, N, d) output of the block, groups one after another.
        compared: (B, N, d') features compared between groups, averaged over heads.
        pruning: the settings.
        stage: the pruning stage.
        fixed: the result of `fixed_selection` for this stage.

    Returns:
        (B, M) int64 indices of the kept tokens among the N.
    """
    groups = len(x), stage.groups, stage.tokens, -1
    within = select_tokens(
        x.reshape(groups), compared.reshape(groups), pruning=pruning, stage=stage, fixed=fixed
    )
    start = torch.arange(stage.groups, device=x.device)[:, None] * stage.tokens
    return (within + start).flatten(1)


def kept_mask(positions: Tensor, grid: tuple[int, int]) -> Tensor:
    """Bool mask (B, n_t, n_s), True at the positions (B, M) of the flat (n_t * n_s) grid."""
    temporal, spatial = grid
    mask = torch.zeros(
        len(positions), temporal * spatial, dtype=torch.bool, device=positions.device
    )
    kept = torch.ones_like(positions, dtype=torch.bool)
    return mask.scatter(1, positions, kept).view(-1, temporal, spatial)


def _accumulate(
    x: Tensor, keys: Tensor, first: Tensor, *, pruning: Pruning, stage: PruningStage
) -> list[Tensor]:
    """Accumulates by equations 2, 3 and 5; one (B, kept) tensor of indices per group."""
    non_semantic = 1 - semantic_score(x)
    kept = [first]
    if stage.groups == 1:
        return kept
    if pruning.score == "semantics":
        rest = non_semantic[:, 1:].argsort(dim=-1, stable=True)[..., : stage.kept]
        return kept + list(rest.unbind(1))
    step = transitions(keys, temperature=pruning.temperature)
    mass = torch.full_like(non_semantic[:, 0], 1 / stage.tokens)
    if pruning.grouping == "paper":
        mass = _renormalize(mass, first)
    for group in range(1, stage.groups):
        mass = (step[:, group - 1] @ mass.unsqueeze(-1)).squeeze(-1)
        score = mass if pruning.score == "redundancy" else mass * non_semantic[:, group]
        chosen = score.argsort(dim=-1, stable=True)[:, : stage.kept]
        kept.append(chosen)
        mass = _renormalize(mass, chosen)
    return kept


def _renormalize(mass: Tensor, kept: Tensor) -> Tensor:
    """Mass (B, n) of the kept tokens, 0 elsewhere, with sum 1 (Algorithm 1, "first-order norm")."""
    remaining = torch.zeros_like(mass).scatter(-1, kept, 1.0) * mass
    return remaining / remaining.sum(dim=-1, keepdim=True)


def score_flops(pruning: Pruning, stage: PruningStage, compared: int) -> int:
    """Multiply-accumulates of `select_tokens` on one clip.

    They are ToMe's matching in the first group, then one transition and one accumulation per group.

    Args:
        pruning: the settings.
        stage: groups, tokens and tokens to drop.
        compared: channels d' of the compared features.
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
