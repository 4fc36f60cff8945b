"""ToMe, RLT and STA with merging, one clip and one token at a time, in float64."""

import math

import torch

from sta.models.architectures import ViTConfig
from sta.models.create import model_from_config

SMALL = ViTConfig(embed_dim=48, depth=3, num_heads=4, frames=8, image_size=48)
# An odd number of tokens.
ODD = ViTConfig(embed_dim=48, depth=3, num_heads=4, frames=6, image_size=48)


def small_vit(config=SMALL, pruning=None):
    """A ViT of random weights in float64, whose attention is far from uniform."""
    torch.manual_seed(0)
    model = model_from_config(config, "vit_demo", num_classes=5, pruning=pruning).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3)
    return model.requires_grad_(False)


def clips_for(config=SMALL, batch=2):
    torch.manual_seed(1)
    return torch.randn(batch, *config.input_shape, dtype=torch.float64)


def plain_tome(model, clip, r, *, proportional):
    """Logits of one clip and the sizes of its last tokens."""
    x = list(model.embed(clip[None])[0])
    tokens, sizes = len(x), [1.0] * len(x)
    for block in model.blocks:
        x, keys = _attended(block, x, sizes if proportional else None)
        x, sizes = _matched(x, keys, sizes, min(r, len(x) // 2))
        x = [token + block.mlp(block.norm2(token)) for token in x]
    mean = sum(size * token for size, token in zip(sizes, x, strict=True)) / tokens
    return model.head(model.fc_norm(mean)), sizes


def _matched(x, keys, sizes, r):
    even, odd = range(0, len(x), 2), range(1, len(x), 2)
    nearest = {
        place: max(odd, key=lambda other: (_cosine(keys[place], keys[other]), -other))
        for place in even
    }
    order = sorted(even, key=lambda place: (-_cosine(keys[place], keys[nearest[place]]), place))
    members = {place: [place] for place in odd}
    for place in order[:r]:
        members[nearest[place]].append(place)
    groups = [[place] for place in order[r:]] + list(members.values())
    return _means(x, sizes, groups)


def _means(x, sizes, groups):
    total = [sum(sizes[place] for place in group) for group in groups]
    means = [
        sum(sizes[place] * x[place] for place in group) / size
        for group, size in zip(groups, total, strict=True)
    ]
    return means, total


def plain_rlt(model, clip, keeps):
    """Logits of one clip and its kept tokens; `keeps` tells them from all changes.

    Args:
        keeps: from a list of (change, flat index) of all but the first temporal position to the
            flat indices that stay.
    """
    config = model.config
    temporal, spatial = config.grid
    width = config.image_size // config.patch_size
    changes = []
    for t in range(1, temporal):
        for place in range(spatial):
            y, x = (config.patch_size * each for each in divmod(place, width))
            window = (slice(None), slice(y, y + config.patch_size), slice(x, x + config.patch_size))
            before = clip[:, (t - 1) * config.tubelet_size][window]
            now = clip[:, (t + 1) * config.tubelet_size - 1][window]
            changes.append(((now - before).abs().mean().item(), t * spatial + place))
    kept = sorted([*range(spatial), *keeps(changes)])
    x = [model.embed(clip[None])[0, place] for place in kept]
    for block in model.blocks:
        x, _ = _attended(block, x, None)
        x = [token + block.mlp(block.norm2(token)) for token in x]
    return model.head(model.fc_norm(sum(x) / len(x))), kept


def plain_merged(model, clip, kept_masks):
    """Logits of one clip under STA with merging, given the tokens that each stage keeps, in order.

    Args:
        kept_masks: for each stage of `model`, the places among the tokens before it that stay.
    """
    x = list(model.embed(clip[None])[0])
    tokens, sizes = len(x), [1.0] * len(x)
    stages = dict(zip([stage.block for stage in model.stages], kept_masks, strict=True))
    for number, block in enumerate(model.blocks):
        x, keys = _attended(block, x, sizes)
        x = [token + block.mlp(block.norm2(token)) for token in x]
        if number in stages:
            kept = stages[number]
            groups = {place: [place] for place in kept}
            for place in set(range(len(x))) - set(kept):
                into = max(kept, key=lambda other: _cosine(keys[place], keys[other]))
                groups[into].append(place)
            x, sizes = _means(x, sizes, list(groups.values()))
    mean = sum(size * token for size, token in zip(sizes, x, strict=True)) / tokens
    return model.head(model.fc_norm(mean)), sizes


def _attended(block, x, sizes):
    """Tokens after attention, and their keys averaged over heads."""
    attn = block.attn
    heads, dim = attn.num_heads, attn.q_bias.shape[0]
    width = dim // heads
    hidden = [block.norm1(token) for token in x]
    zero = torch.zeros_like(attn.q_bias)
    query, key, value = (
        [weight @ token + bias for token in hidden]
        for weight, bias in zip(
            attn.qkv.weight.chunk(3), (attn.q_bias, zero, attn.v_bias), strict=True
        )
    )
    out = []
    for at, token in enumerate(x):
        parts = []
        for head in range(heads):
            some = slice(head * width, (head + 1) * width)
            scores = [
                float(query[at][some] @ key[other][some]) / math.sqrt(width)
                + (0.0 if sizes is None else math.log(sizes[other]))
                for other in range(len(x))
            ]
            weights = torch.tensor(scores, dtype=torch.float64).softmax(dim=0)
            parts.append(sum(w * v[some] for w, v in zip(weights, value, strict=True)))
        out.append(token + attn.proj(torch.cat(parts)))
    return out, [each.view(heads, width).mean(dim=0) for each in key]


def _cosine(one, other):
    return float(one @ other / (one.norm() * other.norm()))
