"""The paper's two measures of what pruning removes (section 3.3)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from sta.models.vit import VisionTransformer


def trajectory_sum(x: Tensor, kept: Tensor | None = None) -> Tensor:
    """How often the last frame's tokens were there before (equation 6, Table 1).

    Each token of the last frame finds its most similar token in every earlier frame; the cosines
    are summed over frames and averaged over tokens. n_t - 1 means a still picture.

    Args:
        x: (B, n_t, n_s, d) tokens; what stands at dropped places does not matter.
        kept: bool (B, n_t, n_s), True where the token is there; None if all are.

    Returns:
        (B,) in [-(n_t - 1), n_t - 1].

    Raises:
        ValueError: a frame that has no token at all; the measure is not defined then.
    """
    if kept is None:
        kept = torch.ones(x.shape[:3], dtype=torch.bool, device=x.device)
    if not bool(kept.any(dim=-1).all()):
        raise ValueError("a frame without any kept token has no trajectory")
    unit = F.normalize(x, dim=-1)
    cosines = torch.einsum("bid,btjd->btij", unit[:, -1], unit[:, :-1])
    cosines = cosines.masked_fill(~kept[:, :-1, None, :], -torch.inf)
    nearest = cosines.amax(dim=-1).sum(dim=1)
    alive = kept[:, -1]
    return (nearest * alive).sum(dim=-1) / alive.sum(dim=-1)


@torch.no_grad()
def final_tokens(model: VisionTransformer, clips: Tensor) -> tuple[Tensor, Tensor]:
    """The tokens that reach the head, back at their places.

    Args:
        model: a ViT, pruned or not.
        clips: (B, 3, T, H, W) float, normalized.

    Returns:
        (B, n_t, n_s, d) with zeros at dropped places, and the bool mask (B, n_t, n_s).
    """
    x, places, _ = model.tokens(clips)
    slots, spatial = model.config.grid
    grid = x.new_zeros(x.shape[0], slots * spatial, x.shape[2])
    grid = grid.scatter(1, places[..., None].expand_as(x), x)
    mask = torch.zeros(grid.shape[:2], dtype=torch.bool, device=x.device)
    mask = mask.scatter(1, places, torch.ones_like(places, dtype=torch.bool))
    return grid.view(-1, slots, spatial, x.shape[2]), mask.view(-1, slots, spatial)


def grad_norm(model: VisionTransformer, clips: Tensor, labels: Tensor) -> Tensor:
    """How much each token matters to the loss (equation 7, Figure 3).

    Args:
        model: a ViT; a pruned one counts a token in the blocks that it reaches.
        clips: (B, 3, T, H, W) float, normalized.
        labels: (B,) int64 true classes of the cross-entropy.

    Returns:
        (B, n_t, n_s): |d loss / d X| summed over channels and over the blocks' outputs. The loss
        is summed over the batch, so that a clip's map does not depend on its neighbors.
    """
    blocks: list[tuple[Tensor, Tensor]] = []
    with torch.enable_grad():
        x, _, _ = model.tokens(clips.detach().requires_grad_(), blocks=blocks)
        logits = model.head(model.fc_norm(x.mean(dim=1)))
        loss = F.cross_entropy(logits, labels, reduction="sum")
        gradients = torch.autograd.grad(loss, [tokens for tokens, _ in blocks])
    slots, spatial = model.config.grid
    total = clips.new_zeros(clips.shape[0], slots * spatial)
    for gradient, (_, places) in zip(gradients, blocks, strict=True):
        total = total.scatter_add(1, places, gradient.abs().sum(dim=-1))
    return total.view(-1, slots, spatial)
