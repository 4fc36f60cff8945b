"""Layouts of checkpoints, told from their parameter names, and the way from each to ours.

Our names are those of the original checkpoints: VideoMAE's as they stand; VideoSwin's without the
prefix `backbone.` and with the classifier as `head`. Tensors are never changed, only renamed; the
one exception is Hugging Face's VideoMAE, whose three projections are stacked into one.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from sta.errors import CheckpointError

Family = Literal["vit", "videoswin"]

VIDEOMAE_LICENCE = "CC-BY-NC-4.0 (VideoMAE's published weights: no commercial use)"
VIDEOSWIN_LICENCE = "Apache-2.0 (VideoSwin's published weights)"


@dataclass(frozen=True)
class Layout:
    """How a kind of checkpoint names its parameters.

    Attributes:
        title: what to call it.
        family: the backbone inside.
        licence: of the published weights in this layout.
        renames: (pattern, replacement) pairs; each is applied in turn to every name.
        dropped: pattern of whole names that hold no parameter: buffers that the model rebuilds.
    """

    title: str
    family: Family
    licence: str
    renames: tuple[tuple[str, str], ...] = ()
    dropped: str = r"(?!)"

    def name(self, foreign: str) -> str | None:
        """Our name for a parameter, None for what is dropped."""
        if re.fullmatch(self.dropped, foreign):
            return None
        for pattern, replacement in self.renames:
            foreign = re.sub(pattern, replacement, foreign)
        return foreign


_HEAD = (r"^cls_head\.fc_cls\.", "head.")
_BACKBONE = (r"^backbone\.", "")
_SWIN_BUFFERS = r".*\.(relative_position_index|attn_mask)"

VIDEOMAE = Layout(title="VideoMAE", family="vit", licence=VIDEOMAE_LICENCE, dropped=r"pos_embed")
HUGGING_FACE = Layout(
    title="Hugging Face's VideoMAE",
    family="vit",
    licence=VIDEOMAE_LICENCE,
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
        (r"\.attention\.attention\.(query|key|value)\.weight$", r".attn.\1.weight"),
    ),
    # Softmax does not see a key bias, and these models were trained without one.
    dropped=r"videomae\.embeddings\.position_embeddings|.*\.attention\.key\.bias",
)
MMACTION_VIDEOMAE = Layout(
    title="mmaction2's VideoMAE",
    family="vit",
    licence=VIDEOMAE_LICENCE,
    renames=(
        _BACKBONE,
        _HEAD,
        (r"^patch_embed\.projection\.", "patch_embed.proj."),
        (r"\.mlp\.layers\.0\.0\.", ".mlp.fc1."),
        (r"\.mlp\.layers\.1\.", ".mlp.fc2."),
    ),
    dropped=r"(backbone\.)?pos_embed",
)
VIDEOSWIN = Layout(
    title="VideoSwin",
    family="videoswin",
    licence=VIDEOSWIN_LICENCE,
    renames=(_BACKBONE, _HEAD),
    dropped=_SWIN_BUFFERS,
)
MMACTION_VIDEOSWIN = Layout(
    title="mmaction2's VideoSwin",
    family="videoswin",
    licence=VIDEOSWIN_LICENCE,
    renames=(_BACKBONE, _HEAD, (r"^norm3\.", "norm.")),
    dropped=_SWIN_BUFFERS,
)
TORCHVISION = Layout(
    title="torchvision's swin3d",
    family="videoswin",
    licence=VIDEOSWIN_LICENCE,
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


def recognise(names: Collection[str]) -> Layout | None:
    """The layout that these parameter names belong to, None if it is no known one."""

    def starts(*prefixes: str) -> bool:
        return any(name.startswith(prefixes) for name in names)

    if starts("videomae."):
        return HUGGING_FACE
    if starts("backbone.patch_embed.projection.", "patch_embed.projection."):
        return MMACTION_VIDEOMAE
    if starts("backbone.layers.", "layers.") and starts("backbone.patch_embed.", "patch_embed."):
        return MMACTION_VIDEOSWIN if starts("backbone.norm3.", "norm3.") else VIDEOSWIN
    if starts("features.") and starts("patch_embed."):
        return TORCHVISION
    if starts("blocks.") and starts("patch_embed.proj."):
        return VIDEOMAE
    return None


def to_our_names(raw: Mapping[str, Tensor], shown: str) -> tuple[Layout, dict[str, Tensor]]:
    """A checkpoint's parameters under our names, and the layout they were in.

    Args:
        raw: parameters as the file names them.
        shown: what messages call the file.

    Raises:
        CheckpointError: the layout is not known, the checkpoint has no classifier, or two of its
            parameters have the same place in the model.
    """
    layout = recognise(raw)
    if layout is None:
        if any(name.startswith(("encoder.", "decoder.")) for name in raw):
            raise CheckpointError(_not_fine_tuned(shown))
        some = ", ".join(sorted(raw)[:3]) or "none"
        known = ", ".join(known.title for known in LAYOUTS)
        raise CheckpointError(
            f"{shown} is in no known layout ({known}); its first parameters are {some}"
        )
    out: dict[str, Tensor] = {}
    for foreign, tensor in raw.items():
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
    return layout, out


def _not_fine_tuned(shown: str) -> str:
    return f"{shown} has no classifier: it is pre-trained but not fine-tuned"


def _stack_projections(tensors: dict[str, Tensor]) -> None:
    """Replaces a block's three projections, where it has all, by one of 3 d rows: q, k, v."""
    for first in [name for name in tensors if name.endswith(".attn.query.weight")]:
        block = first.removesuffix("query.weight")
        parts = [f"{block}{part}.weight" for part in ("query", "key", "value")]
        shapes = {tensors[part].shape if part in tensors else None for part in parts}
        if len(shapes) == 1:
            tensors[f"{block}qkv.weight"] = torch.cat([tensors.pop(part) for part in parts])
