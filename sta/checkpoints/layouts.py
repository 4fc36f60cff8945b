"""Layouts of checkpoints: recognized by parameter names, and renamed to ours.

The file of each backbone in `sta.models` says which layouts its checkpoints have. Prefixes of
wrappers (DDP, FSDP, torch.compile, Lightning, mmaction2, VideoMAE V2 on the hub) are removed first.
Tensors are only renamed, with two exceptions: three projections are stacked into one, as
Hugging Face's layouts need it, and timm's joint bias of the projections is split.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from sta.errors import CheckpointError
from sta.models.configs import IMAGENET_MEAN, IMAGENET_STD
from sta.models.create import model_classes
from sta.models.layout import Layout

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


def layouts() -> list[tuple[str, Layout]]:
    """Every layout with the backbone that it belongs to, in the order of the table."""
    return [(name, each) for name, model in model_classes() for each in model.layouts]


def recognize(names: Collection[str]) -> tuple[str, Layout] | None:
    """The backbone and layout that these parameter names belong to; None if they are unknown.

    Of several layouts that fit, the one with the most marks is meant. The names must be without
    prefixes, as `unwrapped` returns them.
    """
    fitting = [found for found in layouts() if found[1].fits(names)]
    return max(fitting, key=lambda found: len(found[1].marks), default=None)


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
            done = [
                255 * value for value in (IMAGENET_MEAN if found[1] == "mean" else IMAGENET_STD)
            ]
            said = tensor.flatten()[: len(done)].tolist()
            if tensor.numel() != len(done) or any(
                abs(a - b) > _PIXEL_TOLERANCE for a, b in zip(said, done, strict=True)
            ):
                raise CheckpointError(
                    f"{shown}: {name} is {said}; pixels are normalized by {found[1]} "
                    f"{[round(value, 3) for value in done]} alone"
                )


@dataclass(frozen=True)
class Renamed:
    """A checkpoint's parameters under our names.

    Attributes:
        backbone: the backbone they belong to.
        layout: the layout they were in.
        tensors: by our name.
        positions: tables of positions (..., N, d) that the model rebuilds, by name in the file.
    """

    backbone: str
    layout: Layout
    tensors: dict[str, Tensor]
    positions: dict[str, Tensor]


def renamed(found: Unwrapped, shown: str) -> Renamed:
    """A checkpoint's parameters under our names, and the layout they were in.

    Args:
        found: parameters as the file names them, without their prefixes.
        shown: name of the file in messages.

    Raises:
        CheckpointError: the layout is not known, the checkpoint has no classifier, or two of its
            parameters have the same place in the model.
    """
    recognized = recognize(found.tensors)
    if recognized is None:
        if found.pretrained:
            raise CheckpointError(_not_fine_tuned(shown))
        some = ", ".join(sorted(found.origins.values())[:3]) or "none"
        known = ", ".join(dict.fromkeys(known.title for _, known in layouts()))
        raise CheckpointError(
            f"{shown} is in no known layout ({known}); its first parameters are {some}"
        )
    backbone, layout = recognized
    out: dict[str, Tensor] = {}
    for foreign, tensor in found.tensors.items():
        name = layout.name(foreign)
        if name is None:
            continue
        if name in out:
            raise CheckpointError(f"{shown} holds {name} twice, once of them as {foreign}")
        out[name] = tensor
    _stack_projections(out)
    if "head.weight" not in out:
        raise CheckpointError(_not_fine_tuned(shown))
    for name, dimensions in (("head.weight", 2), ("patch_embed.proj.weight", 5)):
        if name not in out or out[name].dim() != dimensions:
            raise CheckpointError(f"{shown} has no {name} of {dimensions} dimensions")
    for name, other, why in layout.refused:
        if name in out and other not in out:
            raise CheckpointError(f"{shown} has {name} and no {other}: {why}")
    if any(name.startswith("blocks.") for name in out):
        _divide_biases(out, shown)
    positions = {
        found.origins[name]: tensor
        for name, tensor in found.tensors.items()
        if re.fullmatch(layout.positions, name)
    }
    return Renamed(backbone, layout, out, positions)


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
    """Splits timm's joint bias of the three projections; drops the blocks' key biases if all are 0.

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
    keys = [name for name in tensors if re.fullmatch(r"blocks\.\d+\.attn\.k_bias", name)]
    if not any(tensors[name].float().any() for name in keys):
        for name in keys:
            del tensors[name]
