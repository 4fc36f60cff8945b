"""transformers' three video classifiers, pruned by the book: the reference for `sta.apply`.

One clip at a time, in float64, from the model's own weights. Tokens are chosen frame by frame
(`tests.sta.plain`), and every token carries its (frame, row, column), from which V-JEPA 2's angles
are computed.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F

import sta
from sta.pruning import vit_stages
from tests.sta.plain import plain_select_tokens


@dataclass
class Plain:
    """What a pruned model should give for one clip."""

    logits: torch.Tensor
    masks: list[torch.Tensor]
    hidden: list[torch.Tensor]


def plain_forward(model, clip, pruning, *, positions_stay=True):
    """The pruned model on a clip (T, C, H, W).

    With `positions_stay=False`, tokens are rotated by their index among those that are left, which
    is wrong.
    """
    family = FAMILIES[type(model).__name__]
    x, grid = family.embed(model, clip.double())
    coordinates = torch.cartesian_prod(*(torch.arange(size) for size in grid))
    flat = torch.arange(len(coordinates))
    stages = {
        stage.block: stage
        for stage in vit_stages(
            pruning,
            depth=len(family.layers(model)),
            temporal_positions=grid[0],
            spatial_tokens=grid[1] * grid[2],
        )
    }
    masks, hidden = [], [x]
    for index, layer in enumerate(family.layers(model)):
        own = coordinates[flat] if positions_stay else coordinates[: len(flat)]
        x, features = family.layer(layer, x, own)
        if index in stages:
            stage = stages[index]
            prefix = len(x) - len(flat)
            compared = features[pruning.similarity][prefix:]
            if pruning.similarity != "ffn":
                compared = compared.view(len(compared), model.config.num_attention_heads, -1)
                compared = compared.mean(dim=1)
            shape = (1, stage.groups, stage.tokens, -1)
            within = plain_select_tokens(
                x[prefix:].view(shape), compared.view(shape), pruning=pruning, stage=stage
            )[0]
            chosen = torch.cat([row + g * stage.tokens for g, row in enumerate(within)])
            flat = flat[chosen]
            x = torch.cat([x[:prefix], x[prefix:][chosen]])
            mask = torch.zeros(len(coordinates), dtype=torch.bool)
            mask[flat] = True
            masks.append(mask.view(grid[0], -1))
        hidden.append(x)
    return Plain(family.head(model, x), masks, hidden)


def _norm(module, x):
    return F.layer_norm(x, x.shape[-1:], module.weight.double(), module.bias.double(), module.eps)


def _linear(module, x):
    bias = None if module.bias is None else module.bias.double()
    return F.linear(x, module.weight.double(), bias)


def _attend(q, k, v, heads):
    out = []
    for query, key, value in zip(*(x.chunk(heads, dim=-1) for x in (q, k, v)), strict=True):
        out.append(torch.softmax(query @ key.T / query.shape[-1] ** 0.5, dim=-1) @ value)
    return torch.cat(out, dim=-1)


def _patches(projection, clip):
    x = F.conv3d(
        clip.transpose(0, 1)[None],
        projection.weight.double(),
        projection.bias.double(),
        stride=projection.stride,
    )[0]
    return x.flatten(1).T, x.shape[1:]


class VideoMAE:
    @staticmethod
    def layers(model):
        return model.videomae.encoder.layer

    @staticmethod
    def embed(model, clip):
        x, grid = _patches(model.videomae.embeddings.patch_embeddings.projection, clip)
        return x + model.videomae.embeddings.position_embeddings[0].double(), grid

    @staticmethod
    def layer(layer, x, coordinates):
        own = layer.attention.attention
        normed = _norm(layer.layernorm_before, x)
        q, k, v = (_linear(each, normed) for each in (own.query, own.key, own.value))
        attended = _attend(q, k, v, own.num_attention_heads)
        x = x + _linear(layer.attention.output.dense, attended)
        ffn = _norm(layer.layernorm_after, x)
        hidden = F.gelu(_linear(layer.intermediate.dense, ffn))
        return x + _linear(layer.output.dense, hidden), {"q": q, "k": k, "v": v, "ffn": ffn}

    @staticmethod
    def head(model, x):
        return _linear(model.classifier, _norm(model.fc_norm, x.mean(dim=0)))


class VJEPA2:
    @staticmethod
    def layers(model):
        return model.vjepa2.encoder.layer

    @staticmethod
    def embed(model, clip):
        return _patches(model.vjepa2.encoder.embeddings.patch_embeddings.proj, clip)

    @staticmethod
    def layer(layer, x, coordinates):
        own = layer.attention
        normed = _norm(layer.norm1, x)
        q, k, v = (_linear(each, normed) for each in (own.query, own.key, own.value))
        heads = own.num_attention_heads
        turned = [VJEPA2.rotate(each, coordinates, heads) for each in (q, k)]
        x = x + _linear(own.proj, _attend(*turned, v, heads))
        ffn = _norm(layer.norm2, x)
        x = x + _linear(layer.mlp.fc2, F.gelu(_linear(layer.mlp.fc1, ffn)))
        return x, {"q": q, "k": k, "v": v, "ffn": ffn}

    @staticmethod
    def rotate(x, coordinates, heads):
        """Three parts of each head turn by frame, row and column; the rest does not."""
        x = x.view(len(x), heads, -1).clone()
        size = 2 * (x.shape[-1] // 3 // 2)
        for axis in range(3):
            part = slice(axis * size, (axis + 1) * size)
            frequency = 10000.0 ** (-torch.arange(size // 2, dtype=x.dtype) / (size // 2))
            angle = coordinates[:, axis, None, None] * frequency
            # Both halves of a part have the same angles, but pairs of channels are neighbors.
            sin, cos = (each.repeat(1, 1, 2) for each in (angle.sin(), angle.cos()))
            old = x[..., part]
            even, odd = old[..., 0::2], old[..., 1::2]
            turned = torch.stack([-odd, even], dim=-1).flatten(-2)
            x[..., part] = old * cos + turned * sin
        return x.flatten(1)

    @staticmethod
    def head(model, x):
        pooler = model.pooler
        x = _norm(model.vjepa2.encoder.layernorm, x)
        for layer in pooler.self_attention_layers:
            own, normed = layer.self_attn, _norm(layer.layer_norm1, x)
            qkv = [_linear(each, normed) for each in (own.q_proj, own.k_proj, own.v_proj)]
            x = x + _linear(own.out_proj, _attend(*qkv, own.num_heads))
            x = x + VJEPA2.mlp(layer, x)
        layer = pooler.cross_attention_layer
        own, normed = layer.cross_attn, _norm(layer.layer_norm1, x)
        query = pooler.query_tokens[0].double()
        key, value = _linear(own.k_proj, normed), _linear(own.v_proj, normed)
        query = query + _attend(_linear(own.q_proj, query), key, value, own.num_heads)
        query = query + VJEPA2.mlp(layer, query)
        return _linear(model.classifier, query[0])

    @staticmethod
    def mlp(layer, x):
        return _linear(layer.mlp.fc2, F.gelu(_linear(layer.mlp.fc1, _norm(layer.layer_norm2, x))))


class Vivit:
    @staticmethod
    def layers(model):
        return model.vivit.layers

    @staticmethod
    def embed(model, clip):
        parts = model.vivit.embeddings
        x, grid = _patches(parts.patch_embeddings.projection, clip)
        x = torch.cat([parts.cls_token[0].double(), x])
        return x + parts.position_embeddings[0].double(), grid

    @staticmethod
    def layer(layer, x, coordinates):
        own = layer.attention
        normed = _norm(layer.layernorm_before, x)
        q, k, v = (_linear(each, normed) for each in (own.q_proj, own.k_proj, own.v_proj))
        x = x + _linear(own.o_proj, _attend(q, k, v, own.num_attention_heads))
        ffn = _norm(layer.layernorm_after, x)
        # "gelu_fast"
        hidden = F.gelu(_linear(layer.mlp.fc1, ffn), approximate="tanh")
        return x + _linear(layer.mlp.fc2, hidden), {"q": q, "k": k, "v": v, "ffn": ffn}

    @staticmethod
    def head(model, x):
        return _linear(model.classifier, _norm(model.vivit.layernorm, x)[0])


FAMILIES = {
    "VideoMAEForVideoClassification": VideoMAE,
    "VJEPA2ForVideoClassification": VJEPA2,
    "VivitForVideoClassification": Vivit,
}

# The settings that the plain form has.
SETTINGS = [
    sta.Pruning(r=4),
    sta.Pruning(r=5, grouping="paper"),
    sta.Pruning(r=4, direction="BFB"),
    sta.Pruning(r=4, similarity="q"),
    sta.Pruning(r=4, similarity="v"),
    sta.Pruning(r=4, similarity="ffn", grouping="paper"),
    sta.Pruning(r=4, score="redundancy", temperature=0.1),
    sta.Pruning(r=4, score="semantics"),
    sta.Pruning(r=1, schedule="increasing"),
]
