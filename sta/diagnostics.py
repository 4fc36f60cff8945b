"""The paper's two measures of pruning (section 3.3): trajectory sum and GradNorm."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from sta.models.columnar import ColumnarTransformer
from sta.score import kept_mask


def trajectory_sum(x: Tensor, kept: Tensor | None = None) -> Tensor:
    """Temporal redundancy of the last frame's tokens (equation 6, Table 1).

    Each token of the last frame is matched with its most similar token in every earlier frame. The
    cosines are summed over frames and averaged over tokens. A still image gives n_t - 1.

    Args:
        x: (B, n_t, n_s, d) tokens; values at dropped positions are ignored.
        kept: bool (B, n_t, n_s), True where a token is kept; None if all are.

    Returns:
        (B,) in [-(n_t - 1), n_t - 1].

    Raises:
        ValueError: a frame has no kept token, for which the measure is not defined.
    """
    if kept is None:
        kept = torch.ones(x.shape[:3], dtype=torch.bool, device=x.device)
    if not bool(kept.any(dim=-1).all()):
        raise ValueError("trajectory_sum needs at least one kept token in every frame")
    unit = F.normalize(x, dim=-1)
    cosines = torch.einsum("bid,btjd->btij", unit[:, -1], unit[:, :-1])
    cosines = cosines.masked_fill(~kept[:, :-1, None, :], -torch.inf)
    nearest = cosines.amax(dim=-1).sum(dim=1)
    last = kept[:, -1]
    return (nearest * last).sum(dim=-1) / last.sum(dim=-1)


@torch.no_grad()
def final_tokens(model: ColumnarTransformer, clips: Tensor) -> tuple[Tensor, Tensor]:
    """The tokens that reach the head, at their positions in the grid.

    Args:
        model: a columnar transformer, pruned or not.
        clips: (B, 3, T, H, W) float, normalized.

    Returns:
        (B, n_t, n_s, d) with zeros at dropped positions, and the bool mask (B, n_t, n_s).
    """
    x, positions, _ = model.tokens(clips)
    x = x[:, model.prefix_tokens :]
    temporal, spatial = model.config.grid
    grid = x.new_zeros(x.shape[0], temporal * spatial, x.shape[2])
    grid = grid.scatter(1, positions[..., None].expand_as(x), x)
    return grid.view(-1, temporal, spatial, x.shape[2]), kept_mask(positions, model.config.grid)


def grad_norm(model: ColumnarTransformer, clips: Tensor, labels: Tensor) -> Tensor:
    """Norm of the loss gradient at each token (equation 7, Figure 3).

    Args:
        model: a columnar transformer. If it is pruned, a token counts in the blocks that it
            reaches.
        clips: (B, 3, T, H, W) float, normalized.
        labels: (B,) int64 ground-truth classes for the cross-entropy.

    Returns:
        (B, n_t, n_s): |d loss / d X| summed over channels and over the blocks' outputs. The loss
        is summed over the batch, so that the result of a clip does not depend on the others.
    """
    blocks: list[tuple[Tensor, Tensor]] = []
    with torch.enable_grad():
        x, _, _ = model.tokens(clips.detach().requires_grad_(), blocks=blocks)
        logits = model.classify(model.pool(x))
        loss = F.cross_entropy(logits, labels, reduction="sum")
        gradients = torch.autograd.grad(loss, [tokens for tokens, _ in blocks])
    temporal, spatial = model.config.grid
    total = clips.new_zeros(clips.shape[0], temporal * spatial)
    for gradient, (_, positions) in zip(gradients, blocks, strict=True):
        each = gradient[:, model.prefix_tokens :].abs().sum(dim=-1)
        total = total.scatter_add(1, positions, each)
    return total.view(-1, temporal, spatial)
