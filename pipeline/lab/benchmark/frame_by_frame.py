"""STA frame by frame, as Algorithm 1 of the paper reads; reference for the vectorized form.

It makes the same choices. Each transition is computed when its turn comes, from the tokens that the
group before has kept, and every group's tokens are gathered by themselves.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sta.models.vit import VisionTransformer
from sta.pruning import Pruning, PruningStage
from sta.score import semantic_score, tome_ranking, unit_keys


class FrameByFrame(VisionTransformer):
    """A ViT that is pruned frame by frame; for the switches that the paper runs with.

    Raises ValueError for another first step or score.
    """

    @classmethod
    def like(cls, model: VisionTransformer) -> FrameByFrame:
        """The same model, weights and pruning, on its device and in its dtype."""
        pruning = model.pruning
        if (pruning.score, pruning.first_frame) != ("sta", "tome"):
            raise ValueError("the frame-by-frame form has score='sta' and first_frame='tome' alone")
        made = cls(
            model.config,
            num_classes=model.head.out_features,
            pruning=pruning,
            architecture=model.architecture,
        )
        weight = model.head.weight
        made.to(device=weight.device, dtype=weight.dtype).load_state_dict(model.state_dict())
        return made.eval()

    def prune(
        self, x: Tensor, compared: Tensor, positions: Tensor, stage: PruningStage
    ) -> tuple[Tensor, Tensor]:
        """As `VisionTransformer.prune`."""
        batch, _, width = x.shape
        groups = x.view(batch, stage.groups, stage.tokens, width)
        keys = compared.view(batch, stage.groups, stage.tokens, -1)
        tokens: list[Tensor] = [x] * stage.groups
        where: list[Tensor] = [positions] * stage.groups
        for group, chosen in _walk(groups, keys, self.pruning, stage):
            index = chosen.sort(dim=-1).values if self.pruning.grouping == "paper" else chosen
            tokens[group] = groups[:, group].gather(1, index[..., None].expand(-1, -1, width))
            own = positions.view(batch, stage.groups, stage.tokens)[:, group]
            where[group] = own.gather(1, index)
        return torch.cat(tokens, dim=1), torch.cat(where, dim=1)


def _walk(
    x: Tensor, keys: Tensor, pruning: Pruning, stage: PruningStage
) -> list[tuple[int, Tensor]]:
    """(group, places (B, kept) that it keeps), in the order of the chain."""
    order = list(range(stage.groups))
    if stage.backward:
        order.reverse()
    dtype = torch.promote_types(x.dtype, torch.float32)
    before = unit_keys(keys[:, order[0]].to(dtype))
    chosen = tome_ranking(before, drop=stage.drop)[:, : stage.kept]
    kept = [(order[0], chosen)]
    mass = before.new_full(before.shape[:2], 1 / stage.tokens)
    if pruning.grouping == "paper":
        before, mass = _left(before, mass, chosen)
    for group in order[1:]:
        now = unit_keys(keys[:, group].to(dtype))
        cosines = now @ before.transpose(-1, -2) / pruning.temperature
        mass = (cosines.softmax(dim=-2) @ mass.unsqueeze(-1)).squeeze(-1)
        score = mass * (1 - semantic_score(x[:, group].to(dtype)))
        chosen = score.argsort(dim=-1, stable=True)[:, : stage.kept]
        kept.append((group, chosen))
        before, mass = _left(now, mass, chosen)
    return kept


def _left(keys: Tensor, mass: Tensor, chosen: Tensor) -> tuple[Tensor, Tensor]:
    """Keys and mass of the chosen tokens, the mass with sum 1."""
    keys = keys.gather(1, chosen[..., None].expand(-1, -1, keys.shape[-1]))
    mass = mass.gather(1, chosen)
    return keys, mass / mass.sum(dim=-1, keepdim=True)
