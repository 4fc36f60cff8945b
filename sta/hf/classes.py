"""The classes of transformers that `sta.apply` takes, and where each keeps what STA needs.

A `SupportedClass` names the modules and arguments of one class, as transformers 5.23 has them.
Classes are recognized by name and module, so that transformers is not imported here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from sta.hf.shape import Shape, attentive_head_flops, mean_head_flops, token_head_flops
from sta.models.architectures import DEFAULT_R


@dataclass(frozen=True)
class SupportedClass:
    """Where one class of transformers keeps what STA needs.

    Attributes:
        name: name of the class.
        module: module that defines the class.
        input_name: argument of `forward` that takes the clips (B, T, C, H, W).
        layers: path to the list of layers. A layer's first argument, and its output or the first
            entry of its output, are the tokens (B, N, d).
        features: path in a layer to the module whose output `Pruning.similarity` compares.
        shape: reads the sizes from a configuration.
        head_flops: FLOPs of all that follows the layers, for a shape and the tokens left.
        refused: arguments of `forward` that cannot be combined with pruning, with the reason.
        layer_argument: a layer's second argument as (its name, its value for the positions
            (B, n) of the kept tokens in the flat grid); None if a layer takes tokens alone.
        paper_r: the paper's r, by the token grid (n_t, rows, columns).
        unsupported: the reason why a model with this configuration cannot be pruned, or None.
    """

    name: str
    module: str
    input_name: str
    layers: str
    features: Mapping[str, str]
    shape: Callable[[Any], Shape]
    head_flops: Callable[[Shape, int], int]
    refused: Mapping[str, str]
    layer_argument: tuple[str, Callable[[Tensor], Tensor | None]] | None
    paper_r: Mapping[tuple[int, int, int], int]
    unsupported: Callable[[Any], str | None]

    def describes(self, model: nn.Module) -> bool:
        """Whether a model is of this class or of one that inherits from it."""
        return any(
            (base.__name__, base.__module__) == (self.name, self.module)
            for base in type(model).__mro__
        )


def _pair(size: Any) -> tuple[int, int]:
    height, width = (size, size) if isinstance(size, int) else size
    return height, width


def _videomae_shape(config: Any) -> Shape:
    return Shape(
        depth=config.num_hidden_layers,
        dim=config.hidden_size,
        num_heads=config.num_attention_heads,
        mlp_dim=config.intermediate_size,
        channels=config.num_channels,
        tubelet=(config.tubelet_size, *_pair(config.patch_size)),
        clip=(config.num_frames, *_pair(config.image_size)),
        num_classes=config.num_labels,
    )


def _vjepa2_shape(config: Any) -> Shape:
    return Shape(
        depth=config.num_hidden_layers,
        dim=config.hidden_size,
        num_heads=config.num_attention_heads,
        mlp_dim=int(config.hidden_size * config.mlp_ratio),
        channels=config.in_chans,
        tubelet=(config.tubelet_size, *_pair(config.patch_size)),
        clip=(config.frames_per_clip, *_pair(config.crop_size)),
        num_classes=config.num_labels,
        pooler_layers=config.num_pooler_layers,
    )


def _vivit_shape(config: Any) -> Shape:
    frames, height, width = config.tubelet_size
    return Shape(
        depth=config.num_hidden_layers,
        dim=config.hidden_size,
        num_heads=config.num_attention_heads,
        mlp_dim=config.intermediate_size,
        channels=config.num_channels,
        tubelet=(frames, height, width),
        clip=(config.num_frames, *_pair(config.image_size)),
        num_classes=config.num_labels,
        prefix_tokens=1,
    )


def _all_supported(config: Any) -> str | None:
    return None


def _first_token_is_read(config: Any) -> str | None:
    if config.use_mean_pooling:
        return None
    return (
        "config.use_mean_pooling is False: the classifier reads the first token alone, which "
        "pruning may drop"
    )


def _positions(positions: Tensor) -> Tensor | None:
    return positions


def _no_mask(positions: Tensor) -> Tensor | None:
    return None


VIDEOMAE = SupportedClass(
    name="VideoMAEForVideoClassification",
    module="transformers.models.videomae.modeling_videomae",
    input_name="pixel_values",
    layers="videomae.encoder.layer",
    features={
        "q": "attention.attention.query",
        "k": "attention.attention.key",
        "v": "attention.attention.value",
        "ffn": "layernorm_after",
    },
    shape=_videomae_shape,
    head_flops=mean_head_flops,
    refused={"bool_masked_pos": "masked tokens leave no full grid"},
    layer_argument=None,
    paper_r={(8, 14, 14): DEFAULT_R["vit_base"]},
    unsupported=_first_token_is_read,
)

VJEPA2 = SupportedClass(
    name="VJEPA2ForVideoClassification",
    module="transformers.models.vjepa2.modeling_vjepa2",
    input_name="pixel_values_videos",
    layers="vjepa2.encoder.layer",
    # Queries and keys before rotation, which would mix positions into them.
    features={
        "q": "attention.query",
        "k": "attention.key",
        "v": "attention.value",
        "ffn": "norm2",
    },
    shape=_vjepa2_shape,
    head_flops=attentive_head_flops,
    refused=dict.fromkeys(("context_mask", "target_mask"), "it names tokens that may be pruned"),
    # Without it a layer rotates the token at index i as the token at position i of the grid.
    layer_argument=("position_mask", _positions),
    paper_r={},
    unsupported=_all_supported,
)

VIVIT = SupportedClass(
    name="VivitForVideoClassification",
    module="transformers.models.vivit.modeling_vivit",
    input_name="pixel_values",
    layers="vivit.layers",
    features={
        "q": "attention.q_proj",
        "k": "attention.k_proj",
        "v": "attention.v_proj",
        "ffn": "layernorm_after",
    },
    shape=_vivit_shape,
    head_flops=token_head_flops,
    refused={"attention_mask": "every token is scored"},
    # Some attention implementations are given a mask that masks nothing. Its size is that of all
    # tokens, so the kept ones go without.
    layer_argument=("attention_mask", _no_mask),
    paper_r={},
    unsupported=_all_supported,
)

SUPPORTED = (VIDEOMAE, VJEPA2, VIVIT)


def supported_class(model: object) -> SupportedClass:
    """The description of a model's class.

    Raises:
        TypeError: the model is of no supported class; the message lists them.
    """
    for supported in SUPPORTED:
        if isinstance(model, nn.Module) and supported.describes(model):
            return supported
    names = ", ".join(supported.name for supported in SUPPORTED)
    raise TypeError(f"model must be one of transformers' {names}; got {_instead(model)}")


def _instead(model: object) -> str:
    """What was given instead of a model, and what to do about it."""
    name = type(model).__name__
    if isinstance(model, str):
        return (
            f"{model!r}. Load it first: AutoModelForVideoClassification.from_pretrained({model!r})"
        )
    if isinstance(model, type):
        name = model.__name__
        return f"the class {name} itself. Load a model first: {name}.from_pretrained(...)"
    if hasattr(model, "_orig_mod"):
        return (
            f"{name}. Prune the model, or undo that, before torch.compile: sta.apply(model) or "
            f"sta.remove(model), then torch.compile(model). The model of a compiled one is its "
            f"_orig_mod"
        )
    if isinstance(model, nn.Module) and hasattr(model, "module"):
        return f"{name}. Prune the model inside this wrapper (its attribute `module`)"
    for supported in SUPPORTED:
        backbones = (base for base in type(model).__mro__ if base.__module__ == supported.module)
        if any(base.__name__.endswith("Model") for base in backbones):
            return f"{name}, a backbone without a classifier. Load it as {supported.name}"
    return name
