"""Layouts of checkpoints: recognized by parameter names, and renamed to ours.

Our names are those of the original checkpoints: VideoMAE's unchanged; VideoSwin's without the
prefix `backbone.` and with the classifier as `head`. Prefixes of wrappers (DDP, FSDP,
torch.compile, Lightning, mmaction2, VideoMAE V2 on the hub) are removed first. Tensors are only
renamed, with two exceptions: Hugging Face's three projections are stacked into one, and timm's
joint bias of the projections is split.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from sta.errors import CheckpointError
from sta.models.base import MEAN, STD

Family = Literal["vit", "videoswin"]

# Prefixes that wrappers add to parameter names, in any number and order.
_WRAPPERS = re.compile(r"^(?:(?:module|model|net|backbone|encoder)\.)+")

# Names that wrappers of single modules insert into parameter names.
_WITHIN = re.compile(
    r"(?:^|(?<=\.))(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\."
)

# Prefixes of moving averages, which stand beside the parameters.
_AVERAGED = re.compile(r"^(?:model_ema|ema_model|ema)\.")

# Not part of the classifier: counters, the normalization of pixels (which is checked), the decoder
# of pre-training, the loss.
_IGNORED = re.compile(
    r"n_averaged|steps|mask_token|(decoder|encoder_to_decoder|data_preprocessor|criterion)\..*"
    r"|(cls_head\.)?loss_cls\..*|.*\.num_batches_tracked"
)
_PIXEL_TOLERANCE = 0.05  # files round 123.675 to a few digits
_PREPROCESSOR = re.compile(r"(?:.*\.)?data_preprocessor\.(mean|std)")


@dataclass(frozen=True)
class Layout:
    """How a kind of checkpoint names its parameters.

    Attributes:
        title: name in messages.
        family: the backbone inside.
        renames: (pattern, replacement) pairs, applied in turn to every name.
        dropped: pattern of names that are no parameters: buffers that the model rebuilds.
    """

    title: str
    family: Family
    renames: tuple[tuple[str, str], ...] = ()
    dropped: str = r"(?!)"

    def name(self, foreign: str) -> str | None:
        """Our name of a parameter; None if it is dropped."""
        if re.fullmatch(self.dropped, foreign):
            return None
        for pattern, replacement in self.renames:
            foreign = re.sub(pattern, replacement, foreign)
        return foreign


_HEAD = (r"^cls_head\.fc_cls\.", "head.")
_SWIN_BUFFERS = r".*\.(relative_position_index|attn_mask)"

VIDEOMAE = Layout(title="VideoMAE", family="vit", dropped=r"pos_embed")
HUGGING_FACE = Layout(
    title="Hugging Face's VideoMAE",
    family="vit",
    renames=(
        (r"^videomae\.embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
        (r"^classifier\.", "head."),
        (r"^videomae\.encoder\.layer\.", "blocks."),
        (r"\.layernorm_before\.", ".norm1."),
        (r"\.layernorm_after\.", ".norm2."),
        (r"\.attention\.output\.dense\.", ".attn.proj."),
        (r"\.intermediate\.dense\.", ".mlp.fc1."),
        (r"\.output\.dense\.", ".mlp.fc2."),
        (r"\.attention\.attention\.(query\.bias|q_bias)$", ".attn.q_bias"),
        (r"\.attention\.attention\.(value\.bias|v_bias)$", ".attn.v_bias"),
        (r"\.attention\.attention\.(key\.bias|k_bias)$", ".attn.k_bias"),
        (r"\.attention\.attention\.(query|key|value)\.weight$", r".attn.\1.weight"),
    ),
    dropped=r"videomae\.embeddings\.position_embeddings",
)
MMACTION_VIDEOMAE = Layout(
    title="mmaction2's VideoMAE",
    family="vit",
    renames=(
        _HEAD,
        (r"^patch_embed\.projection\.", "patch_embed.proj."),
        (r"\.mlp\.layers\.0\.0\.", ".mlp.fc1."),
        (r"\.mlp\.layers\.1\.", ".mlp.fc2."),
    ),
    dropped=r"pos_embed",
)
VIDEOSWIN = Layout(
    title="VideoSwin",
    family="videoswin",
    renames=(_HEAD,),
    dropped=_SWIN_BUFFERS,
)
MMACTION_VIDEOSWIN = Layout(
    title="mmaction2's VideoSwin",
    family="videoswin",
    renames=(_HEAD, (r"^norm3\.", "norm.")),
    dropped=_SWIN_BUFFERS,
)
TORCHVISION = Layout(
    title="torchvision's swin3d",
    family="videoswin",
    renames=(
        *((rf"^features\.{2 * s}\.(\d+)\.", rf"layers.{s}.blocks.\1.") for s in range(4)),
        *((rf"^features\.{2 * s + 1}\.", f"layers.{s}.downsample.") for s in range(3)),
        (r"\.mlp\.0\.", ".mlp.fc1."),
        (r"\.mlp\.3\.", ".mlp.fc2."),
    ),
    dropped=_SWIN_BUFFERS,
)
LAYOUTS = (
    VIDEOMAE,
    HUGGING_FACE,
    MMACTION_VIDEOMAE,
    VIDEOSWIN,
    MMACTION_VIDEOSWIN,
    TORCHVISION,
)


def recognize(names: Collection[str]) -> Layout | None:
    """The layout that these parameter names belong to; None if it is unknown.

    The names must be without prefixes, as `unwrapped` returns them.
    """

    def starts(*prefixes: str) -> bool:
        return any(name.startswith(prefixes) for name in names)

    if starts("videomae."):
        return HUGGING_FACE
    if starts("patch_embed.projection."):
        return MMACTION_VIDEOMAE
    if starts("layers.") and starts("patch_embed."):
        return MMACTION_VIDEOSWIN if starts("norm3.") else VIDEOSWIN
    if starts("features.") and starts("patch_embed."):
        return TORCHVISION
    if starts("blocks.") and starts("patch_embed.proj."):
        return VIDEOMAE
    return None


@dataclass(frozen=True)
class Unwrapped:
    """A checkpoint's parameters without the prefixes of wrappers.

    Attributes:
        tensors: by name.
        origins: the name of each in the file.
        notes: which of two sets of weights was taken, one line each.
        pretrained: whether the file has parts of pre-training beside the encoder.
    """

    tensors: dict[str, Tensor]
    origins: dict[str, str]
    notes: tuple[str, ...]
    pretrained: bool


def unwrapped(raw: Mapping[str, Tensor], shown: str) -> Unwrapped:
    """Removes prefixes of wrappers, and what is not part of a classifier.

    Args:
        raw: parameters as the file names them.
        shown: name of the file in messages.

    Raises:
        CheckpointError: two parameters have the same name without their prefixes, or the model
            needs another normalization of pixels.
    """
    _check_preprocessor(raw, shown)
    tensors: dict[str, Tensor] = {}
    origins: dict[str, str] = {}
    averaged = {name for name in raw if _AVERAGED.match(_bare(name))}
    notes: tuple[str, ...] = ()
    if averaged and len(averaged) < len(raw):
        first = _AVERAGED.match(_bare(min(averaged)))
        assert first is not None
        notes = (
            f"{shown}: loads the moving average (EMA) of the weights, the parameters whose names "
            f"begin with {first[0]}",
        )
    pretrained = False
    for foreign in sorted(averaged) or raw:
        name = _bare(_AVERAGED.sub("", _bare(foreign)))
        if _IGNORED.fullmatch(name):
            pretrained |= name.startswith(("decoder.", "encoder_to_decoder."))
            continue
        if name in tensors:
            raise CheckpointError(
                f"{shown} holds {name} twice, as {origins[name]} and as {foreign}"
            )
        tensors[name], origins[name] = raw[foreign], foreign
    return Unwrapped(tensors, origins, notes, pretrained)


def _bare(name: str) -> str:
    return _WRAPPERS.sub("", _WITHIN.sub("", name))


def _check_preprocessor(raw: Mapping[str, Tensor], shown: str) -> None:
    """Raise CheckpointError if mmaction2's normalization differs from ours."""
    for name, tensor in raw.items():
        if found := _PREPROCESSOR.fullmatch(name):
            done = [255 * value for value in (MEAN if found[1] == "mean" else STD)]
            said = tensor.flatten()[: len(done)].tolist()
            if tensor.numel() != len(done) or any(
                abs(a - b) > _PIXEL_TOLERANCE for a, b in zip(said, done, strict=True)
            ):
                raise CheckpointError(
                    f"{shown}: {name} is {said}; pixels are normalized by {found[1]} "
                    f"{[round(value, 3) for value in done]} alone"
                )


def renamed(found: Unwrapped, shown: str) -> tuple[Layout, dict[str, Tensor]]:
    """A checkpoint's parameters under our names, and the layout they were in.

    Args:
        found: parameters as the file names them, without their prefixes.
        shown: name of the file in messages.

    Raises:
        CheckpointError: the layout is not known, the checkpoint has no classifier, or two of its
            parameters have the same place in the model.
    """
    layout = recognize(found.tensors)
    if layout is None:
        if found.pretrained:
            raise CheckpointError(_not_fine_tuned(shown))
        some = ", ".join(sorted(found.origins.values())[:3]) or "none"
        known = ", ".join(known.title for known in LAYOUTS)
        raise CheckpointError(
            f"{shown} is in no known layout ({known}); its first parameters are {some}"
        )
    out: dict[str, Tensor] = {}
    for foreign, tensor in found.tensors.items():
        name = layout.name(foreign)
        if name is None:
            continue
        if name in out:
            raise CheckpointError(f"{shown} holds {name} twice, once of them as {foreign}")
        out[name] = tensor
    if layout is HUGGING_FACE:
        _stack_projections(out)
    if "head.weight" not in out:
        raise CheckpointError(_not_fine_tuned(shown))
    for name, dimensions in (("head.weight", 2), ("patch_embed.proj.weight", 5)):
        if name not in out or out[name].dim() != dimensions:
            raise CheckpointError(f"{shown} has no {name} of {dimensions} dimensions")
    if layout.family == "vit":
        _divide_biases(out, shown)
        _refuse_other_norm(out, shown)
    return layout, out


def _not_fine_tuned(shown: str) -> str:
    return f"{shown} has no classifier: it is pre-trained but not fine-tuned"


def _stack_projections(tensors: dict[str, Tensor]) -> None:
    """Replaces the three projections of each block by one of 3 d rows: q, k, v."""
    for first in [name for name in tensors if name.endswith(".attn.query.weight")]:
        block = first.removesuffix("query.weight")
        parts = [f"{block}{part}.weight" for part in ("query", "key", "value")]
        found = [tensors[part] for part in parts if part in tensors]
        alike = len({(part.shape, part.dtype) for part in found}) == 1 and found[0].dim() == 2
        if len(found) == len(parts) and alike:
            tensors[f"{block}qkv.weight"] = torch.cat([tensors.pop(part) for part in parts])


def _divide_biases(tensors: dict[str, Tensor], shown: str) -> None:
    """Splits timm's joint bias of the three projections; drops the key biases if all are 0.

    Softmax cancels a key bias, but STA compares keys.
    """
    for name in [name for name in tensors if name.endswith(".attn.qkv.bias")]:
        block = name.removesuffix("qkv.bias")
        joint = tensors.pop(name)
        if joint.dim() != 1 or len(joint) % 3:
            raise CheckpointError(
                f"{shown}: {name} has shape {tuple(joint.shape)}, which are no three biases"
            )
        for part, bias in zip("qkv", joint.chunk(3), strict=True):
            if f"{block}{part}_bias" in tensors:
                raise CheckpointError(f"{shown} holds {block}{part}_bias twice, once in {name}")
            tensors[f"{block}{part}_bias"] = bias.clone()
    keys = [name for name in tensors if name.endswith(".attn.k_bias")]
    if not any(tensors[name].float().any() for name in keys):
        for name in keys:
            del tensors[name]


def _refuse_other_norm(tensors: Mapping[str, Tensor], shown: str) -> None:
    """Raise CheckpointError for a norm before pooling; VideoMAE has it after pooling."""
    if "norm.weight" in tensors and "fc_norm.weight" not in tensors:
        raise CheckpointError(
            f"{shown} has norm.weight and no fc_norm.weight: it normalizes tokens before they are "
            "averaged or takes one of them, and VideoMAE's classifier normalizes their average. "
            "If the model does that too, rename norm to fc_norm in the file"
        )
