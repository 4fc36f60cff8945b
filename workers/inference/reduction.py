"""Other ways than STA to reduce a model's tokens, which a sweep runs beside STA."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

import sta


class ReducedModel(nn.Module):
    """A model whose tokens another method reduces; it runs the modules of `model`.

    Attributes:
        model: the model.
        kept_grids: (n_t, n_s) of each kept-token mask that it returns.
        is_static: whether all tensors have the same shapes for every clip.
    """

    def __init__(
        self,
        model: sta.VideoModel,
        *,
        kept_grids: tuple[tuple[int, int], ...] = (),
        is_static: bool = True,
    ) -> None:
        super().__init__()
        self.model = model
        self.config = model.config
        self.kept_grids = kept_grids
        self.is_static = is_static

    def forward(self, clips: Tensor) -> sta.ModelOutput:
        """As `sta.VideoModel.forward`, with one mask for each of `kept_grids`."""
        raise NotImplementedError

    def clip_flops(self, kept: Sequence[Tensor]) -> list[int]:
        """FLOPs of each clip of a batch; see `sta.clip_flops`."""
        raise NotImplementedError


@dataclass(frozen=True)
class TokenReduction(ABC):
    """Settings of such a method. Labelers are given them and apply them to the model they load."""

    @property
    @abstractmethod
    def setting(self) -> str:
        """What decides the FLOPs, such as `52 per block`."""

    @abstractmethod
    def apply(self, model: sta.VideoModel) -> ReducedModel:
        """The model, reduced; the modules are shared.

        Raises:
            ValueError: the method does not fit the model.
        """

    @abstractmethod
    def flops(self, config: sta.ModelConfig, *, num_classes: int) -> int:
        """FLOPs of one view in closed form, by fvcore's convention.

        Where they depend on the clip, those of a clip that loses no token.

        Raises:
            ValueError: the method does not fit the model.
        """


# What a sweep runs.
SweepVariant = sta.Pruning | TokenReduction


def variant_flops(variant: SweepVariant, config: sta.ModelConfig, *, num_classes: int) -> int:
    """FLOPs of one view in closed form, by fvcore's convention.

    Raises:
        ValueError: the variant does not fit the model.
    """
    if isinstance(variant, TokenReduction):
        return variant.flops(config, num_classes=num_classes)
    return sta.estimate_flops(config, pruning=variant, num_classes=num_classes)
