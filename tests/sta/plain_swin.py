"""VideoSwin with STA, one clip, window and frame at a time: what `sta.models.swin` must equal.

Takes a `sta.VideoSwin` for its weights and shape alone. Windows hold copies of the nearest kept
token at every dropped position, linear layers run on whole grids, and a window attends by the
textbook formula, so nothing of how `sta` lays out tokens, windows or masks is used here.
"""

import itertools
import math

import torch
import torch.nn.functional as F

from tests.sta.plain import plain_select_tokens


def plain_logits(model, clip):
    """(classes,) logits of one clip (3, T, H, W), and the kept masks of its pruning stages."""
    config = model.config
    tube = (config.tubelet_size, config.patch_size, config.patch_size)
    embed = model.patch_embed
    x = F.conv3d(clip[None], embed.proj.weight, embed.proj.bias, stride=tube)[0]
    x = norm(embed.norm, x.permute(1, 2, 3, 0))
    stages = {stage.block: stage for stage in model.stages}
    compared, masks = None, []
    for number, layer in enumerate(model.layers):
        t, h, w, _ = x.shape
        kept = torch.ones(t, h, w, dtype=torch.bool)
        if number in stages:
            places = plain_select_tokens(
                x.reshape(1, t, h * w, -1),
                compared.reshape(1, t, h * w, -1),
                pruning=model.pruning,
                stage=stages[number],
            )[0]
            kept = torch.zeros(t, h * w, dtype=torch.bool)
            for frame in range(t):
                kept[frame, places[frame]] = True
            masks.append(kept)
            kept = kept.view(t, h, w)
        sources = nearest_sources(kept)
        for index, block in enumerate(layer.blocks):
            x = fill(x, sources)
            x, compared = plain_block(block, x, config, config.num_heads[number], shifted=index % 2)
        x, compared = fill(x, sources), fill(compared, sources)
        if number < 3:
            x, compared = merge(layer.downsample, x), pool(compared)
    pooled = norm(model.norm, x)[kept].mean(dim=0)
    return model.head(pooled), masks


def norm(layer, x):
    return F.layer_norm(x, x.shape[-1:], layer.weight, layer.bias, 1e-5)


def nearest_sources(kept):
    """For each dropped position of (t, h, w), the nearest kept position of its frame."""
    sources = {}
    for frame, mask in enumerate(kept.tolist()):
        left = [(y, z) for y, row in enumerate(mask) for z, there in enumerate(row) if there]
        for y, row in enumerate(mask):
            for z, there in enumerate(row):
                if not there:
                    nearest = min(left, key=lambda p: ((p[0] - y) ** 2 + (p[1] - z) ** 2, p))
                    sources[frame, y, z] = frame, *nearest
    return sources


def fill(x, sources):
    """Dropped positions of (t, h, w, C) take the token of their source."""
    filled = x.clone()
    for position, source in sources.items():
        filled[position] = x[source]
    return filled


def merge(layer, x):
    t, h, w, width = x.shape
    out = torch.zeros(t, (h + 1) // 2, (w + 1) // 2, 4 * width, dtype=x.dtype)
    for number, (left, top) in enumerate(itertools.product(range(2), range(2))):
        part = x[:, top::2, left::2]
        out[:, : part.shape[1], : part.shape[2], number * width : (number + 1) * width] = part
    return F.linear(norm(layer.norm, out), layer.reduction.weight)


def pool(x):
    """Means over 2 x 2 patches; at an odd side over what there is."""
    _, h, w, _ = x.shape
    rows = [
        [x[:, y : y + 2, z : z + 2].mean(dim=(1, 2)) for z in range(0, w, 2)]
        for y in range(0, h, 2)
    ]
    return torch.stack([torch.stack(row, dim=1) for row in rows], dim=1)


def plain_block(block, x, config, heads, *, shifted):
    """A block on the whole grid (t, h, w, C), and the keys averaged over heads."""
    attn = block.attn
    grid = x.shape[:3]
    window = [min(size, side) for size, side in zip(config.window_size, grid, strict=True)]
    shift = [
        size // 2 if shifted and size < side else 0 for size, side in zip(window, grid, strict=True)
    ]
    padded = [math.ceil(side / size) * size for side, size in zip(grid, window, strict=True)]
    hidden = torch.zeros(*padded, x.shape[3], dtype=x.dtype)
    hidden[: grid[0], : grid[1], : grid[2]] = norm(block.norm1, x)
    qkv = F.linear(hidden, attn.qkv.weight, attn.qkv.bias)
    attended = torch.zeros_like(hidden)
    bias = window_bias(attn.relative_position_bias_table, config.window_size, math.prod(window))
    for corner in itertools.product(
        *[range(0, side, size) for side, size in zip(padded, window, strict=True)]
    ):
        places, sides = [], []
        for offset in itertools.product(*[range(size) for size in window]):
            rolled = [c + o for c, o in zip(corner, offset, strict=True)]
            places.append(
                [(r + s) % side for r, s, side in zip(rolled, shift, padded, strict=True)]
            )
            # Which side of the grid's edge a position comes from, where the shift rolled it over.
            sides.append(
                [s > 0 and r >= side - s for r, s, side in zip(rolled, shift, padded, strict=True)]
            )
        index = tuple(torch.tensor(places).T)
        width = x.shape[3] // heads
        tokens = qkv[index].view(len(places), 3, heads, width)
        sides = torch.tensor(sides)
        apart = -100.0 * (sides[:, None] != sides[None, :]).any(dim=-1)
        out = torch.zeros(len(places), heads, width, dtype=x.dtype)
        for head in range(heads):
            query, key, value = tokens[:, :, head].unbind(1)
            logits = query @ key.T / math.sqrt(width) + bias[:, :, head] + apart
            out[:, head] = torch.softmax(logits, dim=-1) @ value
        attended[index] = out.flatten(1)
    attended = attended[: grid[0], : grid[1], : grid[2]]
    x = x + F.linear(attended, attn.proj.weight, attn.proj.bias)
    mlp = block.mlp
    hidden = F.gelu(F.linear(norm(block.norm2, x), mlp.fc1.weight, mlp.fc1.bias))
    keys = qkv[: grid[0], : grid[1], : grid[2]].chunk(3, dim=-1)[1]
    keys = keys.unflatten(-1, (heads, -1)).mean(dim=-2)
    return x + F.linear(hidden, mlp.fc2.weight, mlp.fc2.bias), keys


def window_bias(table, window, tokens):
    """(N, N, heads) of the first N positions of the full window."""
    _, h, w = window
    positions = list(itertools.product(*[range(size) for size in window]))[:tokens]
    rows = [
        [
            ((a[0] - b[0] + window[0] - 1) * (2 * h - 1) + a[1] - b[1] + h - 1) * (2 * w - 1)
            + a[2] - b[2] + w - 1
            for b in positions
        ]
        for a in positions
    ]  # fmt: skip
    return table[torch.tensor(rows)]
