"""Normalization, model and softmax as one module that torch.compile can take whole."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import sta
from workers.inference.batching import BatchInput
from workers.inference.output_buffer import Outputs
from workers.inference.pixels import CachedNormalizer, normalized
from workers.inference.reduction import ReducedModel

# Layers whose weights autocast would cast at every forward. Norms, biases outside these layers and
# everything that enters the STA score stay float32.
_CAST = (nn.Linear, nn.Conv3d)

_MOST_FLOAT16 = torch.finfo(torch.float16).max


class FullPrecisionLinear(nn.Linear):
    """A linear layer that autocast leaves in float32.

    In bfloat16, with 8 significant bits, the best classes of a view often have equal logits.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__(linear.in_features, linear.out_features, device="meta")
        self.weight, self.bias = linear.weight, linear.bias

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        with torch.autocast(x.device.type, enabled=False):
            return F.linear(x.float(), self.weight, self.bias)


def mixed_precision(model: sta.VideoModel) -> None:
    """Makes a model ready for bfloat16 autocast, in place.

    Casts once the weights that autocast would cast at every forward, which changes no result; the
    head stays in float32.
    """
    model.head = FullPrecisionLinear(model.head)
    for module in model.modules():
        if isinstance(module, _CAST) and module is not model.head:
            module.to(torch.bfloat16)


class Forward(nn.Module):
    """Normalization, model and softmax over one static batch.

    Args:
        model: the model, on its device.
        batch: the input it reads.
        mixed: whether it runs under bfloat16 autocast; see `mixed_precision`.
        whole: whether the pixels are normalized by an expression that is compiled with the rest.
        features: whether to return what the head sees too.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        model: sta.VideoModel | ReducedModel,
        batch: BatchInput,
        *,
        mixed: bool,
        whole: bool,
        features: bool = False,
    ) -> None:
        super().__init__()
        self.model = model
        self._mixed = mixed
        self._features = features
        self._device = batch.clips.device
        mean, std = model.config.mean, model.config.std
        self.register_buffer("mean", torch.tensor(mean, device=self._device))
        self.register_buffer("std", torch.tensor(std, device=self._device))
        in_cache = self._device.type == "cpu" and not whole
        self._normalizer = CachedNormalizer(batch.clips, mean, std) if in_cache else None

    def forward(self, clips: Tensor, ids: Tensor) -> Outputs:
        """Ids (B,), probabilities (B, classes) float32, features (B, d) float16 where they are
        wanted, and the kept mask of each stage.
        """
        if self._normalizer is not None:
            x = self._normalizer()
        else:
            x = normalized(clips, self.mean, self.std)
        with torch.autocast(self._device.type, dtype=torch.bfloat16, enabled=self._mixed):
            out: sta.ModelOutput = self.model(x)
        probabilities = out.logits.float().softmax(dim=-1)
        if not self._features:
            return ids.clone(), probabilities, *out.kept
        assert out.features is not None
        features = out.features.float().clamp(-_MOST_FLOAT16, _MOST_FLOAT16).half()
        return ids.clone(), probabilities, features, *out.kept
