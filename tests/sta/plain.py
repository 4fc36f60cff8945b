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


def plain_vit_logits(model, clips: torch.Tensor) -> torch.Tensor:
    """Logits of a VideoMAE or ViViT, one clip and one token list at a time.

    It reads parameters by name and nothing else of the model's code: tubelets are sliced, heads are
    computed one by one, and kept tokens are gathered group by group.

    Args:
        model: the model, in float64.
        clips: (B, 3, T, H, W) float64.
    """
    return torch.stack([_one_clips_logits(model, clip) for clip in clips])


def _one_clips_logits(model, clip):
    config, weights = model.config, dict(model.state_dict())
    x = _tubelets(clip, config, weights)
    has_class_token = "cls_token" in weights
    if has_class_token:
        x = torch.cat((weights["cls_token"][0], x)) + weights["pos_embed"][0]
        first, x = x[:1], x[1:]
    else:
        first, x = x[:0], x + model.pos_embed.to(x.dtype)
    stages = {stage.block: stage for stage in model.stages}
    for block in range(config.depth):
        named = {
            name.removeprefix(f"blocks.{block}."): value
            for name, value in weights.items()
            if name.startswith(f"blocks.{block}.")
        }
        both, keys = _block(torch.cat((first, x)), named, config)
        first, x = both[: len(first)], both[len(first) :]
        if (stage := stages.get(block)) is not None:
            keys = keys[len(first) :].reshape(1, stage.groups, stage.tokens, -1)
            groups = x.reshape(1, stage.groups, stage.tokens, -1)
            rows = plain_select_tokens(groups, keys, pruning=model.pruning, stage=stage)[0]
            x = torch.cat([group[row] for group, row in zip(groups[0], rows, strict=True)])
    if has_class_token:
        pooled = _norm(first[0], weights["norm.weight"], weights["norm.bias"], config.norm_eps)
    else:
        pooled = _norm(x.mean(0), weights["fc_norm.weight"], weights["fc_norm.bias"], 1e-6)
    return weights["head.weight"] @ pooled + weights["head.bias"]


def _tubelets(clip, config, weights):
    t, p = config.tubelet_size, config.patch_size
    weight = weights["patch_embed.proj.weight"].flatten(1)
    _, frames, height, width = clip.shape
    return torch.stack(
        [
            weight @ clip[:, f : f + t, h : h + p, w : w + p].flatten()
            + weights["patch_embed.proj.bias"]
            for f in range(0, frames, t)
            for h in range(0, height, p)
            for w in range(0, width, p)
        ]
    )


def _block(x, named, config):
    """The block's output and the keys, averaged over heads."""
    hidden = _norm(x, named["norm1.weight"], named["norm1.bias"], config.norm_eps)
    bias = [named.get(f"attn.{part}_bias", torch.zeros_like(x[0])) for part in "qkv"]
    projections = [
        hidden @ weight.T + add
        for weight, add in zip(named["attn.qkv.weight"].chunk(3), bias, strict=True)
    ]
    width = x.shape[1] // config.num_heads
    attended, keys = [], []
    for head in range(config.num_heads):
        query, key, value = (p[:, head * width : (head + 1) * width] for p in projections)
        attended.append((query @ key.T / width**0.5).softmax(dim=-1) @ value)
        keys.append(key)
    x = x + torch.cat(attended, dim=1) @ named["attn.proj.weight"].T + named["attn.proj.bias"]
    hidden = _norm(x, named["norm2.weight"], named["norm2.bias"], config.norm_eps)
    hidden = _gelu(hidden @ named["mlp.fc1.weight"].T + named["mlp.fc1.bias"], config.activation)
    x = x + hidden @ named["mlp.fc2.weight"].T + named["mlp.fc2.bias"]
    return x, torch.stack(keys).mean(dim=0)


def _norm(x, weight, bias, eps):
    centered = x - x.mean(dim=-1, keepdim=True)
    variance = centered.square().mean(dim=-1, keepdim=True)
    return centered / (variance + eps).sqrt() * weight + bias


def _gelu(x, activation):
    if activation == "gelu_tanh":
        return x / 2 * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (x + 0.044715 * x**3)))
    return x / 2 * (1 + torch.erf(x / 2**0.5))
