"""`AppliedPruning`: the hooks that prune a transformers model, and what they saw last.

The hooks of one forward pass share a `ForwardPass`, which each thread has for itself. They work on
the module that they are called with, so that they serve the replicas of a model too.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from sta.hf.classes import SupportedClass
from sta.hf.shape import trunk_flops
from sta.pruning import Pruning, PruningStage, vit_stages
from sta.score import choose_tokens, fixed_selection, kept_mask

_NO_PRUNING = Pruning()

# torch does not check, when it reuses compiled code, whether a module has got hooks since then, or
# whether another layer has hooks.
_COMPILED = (
    "hooks of STA were not called: the model was compiled before sta.apply, or its layers one by "
    "one. Call torch.compiler.reset(), then sta.apply(model), then torch.compile(model)"
)


@dataclass(frozen=True)
class Plan:
    """The pruning stages of one token grid.

    Attributes:
        grid: (n_t, rows, columns).
        stages: the stages, by the layer after which they run.
        fixed: the result of `fixed_selection` for each of these stages.
    """

    grid: tuple[int, int, int]
    stages: Mapping[int, PruningStage]
    fixed: Mapping[int, Tensor | None]


@dataclass
class ForwardPass:
    """What the hooks of one forward pass hand on to each other.

    Attributes:
        plan: the stages.
        compared: output of the module whose features the next stage compares.
        positions: (B, n) indices in the flat grid of the tokens that are left; None before the
            first stage.
        kept: the kept-token masks so far.
    """

    plan: Plan
    compared: Tensor | None = None
    positions: Tensor | None = None
    kept: list[Tensor] = field(default_factory=list)


class AppliedPruning:
    """The pruning of a transformers model, as `sta.apply` leaves it in `model.sta`.

    Attributes:
        kept: kept-token masks of the last forward pass: one bool (B, n_t, n_s) per pruning stage,
            True where a token is kept; empty before the first pass and at r = 0. Of passes in
            several threads, those of the pass that ended last.
    """

    def __init__(self, supported: SupportedClass, config: Any, pruning: Pruning) -> None:
        self._supported = supported
        self._shape = supported.shape(config)
        self._pruning = pruning
        self._plans: dict[tuple[int, int, int], Plan] = {}
        self._handles: list[RemovableHandle] = []
        self._thread = threading.local()
        self._grid = self._shape.grid(*self._shape.clip)
        self._plan(self._grid)
        self.kept: tuple[Tensor, ...] = ()

    @property
    def pruning(self) -> Pruning:
        """The settings."""
        return self._pruning

    @property
    def flops(self) -> int:
        """FLOPs per clip of the last forward pass, as fvcore counts them.

        They are multiply-accumulates, with 5 per element of a layer norm. Before the first pass,
        those of a clip of the size that the model's configuration names.
        """
        return self._flops(self._pruning)

    @property
    def unpruned_flops(self) -> int:
        """`flops` of the same clip without pruning."""
        return self._flops(_NO_PRUNING)

    def __repr__(self) -> str:
        share = self.flops / self.unpruned_flops
        return f"{type(self).__name__}({self.pruning}, {share:.1%} of the unpruned FLOPs)"

    # The pass of a thread is no part of a copy.
    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_thread"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _thread=threading.local())

    def register(self, model: nn.Module) -> None:
        """Add the hooks to a model.

        They precede hooks that are there already, so that those see the kept tokens.
        """
        handles = self._handles
        handles.append(model.register_forward_pre_hook(self._begin, prepend=True, with_kwargs=True))
        handles.append(model.register_forward_hook(self._end, prepend=True, always_call=True))
        stages = self._plan(self._grid).stages
        layers = model.get_submodule(self._supported.layers)
        assert isinstance(layers, nn.ModuleList)
        for index, layer in enumerate(layers):
            if stages and self._supported.layer_argument and index > min(stages):
                hook = layer.register_forward_pre_hook(
                    self._give_positions, prepend=True, with_kwargs=True
                )
                handles.append(hook)
            if index in stages:
                compared = layer.get_submodule(self._supported.features[self._pruning.similarity])
                handles.append(compared.register_forward_hook(self._take_features, prepend=True))
                prune = partial(self._prune, index)
                handles.append(layer.register_forward_hook(prune, prepend=True))

    def unregister(self) -> None:
        """Remove the hooks."""
        while self._handles:
            self._handles.pop().remove()

    def _current(self) -> ForwardPass | None:
        """The forward pass that the calling thread is in."""
        # No class attribute for the default: torch.compile would take it for the value.
        return getattr(self._thread, "current", None)

    def _begin(self, model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._thread.current = None
        for name, reason in self._supported.refused.items():
            if kwargs.get(name) is not None:
                raise ValueError(
                    f"{name} cannot be given to a model that is pruned by STA ({reason}); "
                    "sta.remove(model) removes the pruning"
                )
        clips = args[0] if args else kwargs.get(self._supported.input_name)
        # The model has an error of its own for anything else.
        if isinstance(clips, Tensor) and clips.ndim == 5:
            # torch.jit.trace has tensors for sizes.
            _, frames, channels, height, width = map(int, clips.shape)
            if channels != self._shape.channels:
                raise ValueError(
                    f"clips must be (B, T, {self._shape.channels}, H, W); got "
                    f"{tuple(map(int, clips.shape))}: {channels} channels"
                )
            grid = self._shape.grid(frames, height, width)
            self._thread.current = ForwardPass(self._plan(grid))

    def _end(self, model: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        finished, self._thread.current = self._current(), None
        # After an error there is no output.
        if finished is not None and output is not None:
            if len(finished.kept) < len(finished.plan.stages):
                raise RuntimeError(_COMPILED)
            self.kept = tuple(finished.kept)
            self._grid = finished.plan.grid

    def _take_features(self, module: nn.Module, args: tuple[Any, ...], output: Tensor) -> None:
        # Gradient checkpointing calls this once more, in the backward pass.
        current = self._current()
        if current is not None:
            current.compared = output.detach()

    def _give_positions(
        self, layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        current = self._current()
        if current is None or current.positions is None:
            return None
        assert self._supported.layer_argument is not None
        name, value_of = self._supported.layer_argument
        value = value_of(current.positions)
        if name in kwargs:
            return args, kwargs | {name: value}
        return (args[0], value, *args[2:]), kwargs

    def _prune(self, index: int, layer: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        current = self._current()
        if current is None:
            return None
        tokens, rest = (output[0], output[1:]) if isinstance(output, tuple) else (output, None)
        chosen = self._choose(current, tokens, index)
        batch, prefix = tokens.shape[0], self._shape.prefix_tokens
        if prefix:
            first = torch.arange(prefix, device=chosen.device).expand(batch, -1)
            chosen = torch.cat([first, chosen + prefix], dim=1)
        kept = tokens.gather(1, chosen[..., None].expand(-1, -1, tokens.shape[-1]))
        return kept if rest is None else (kept, *rest)

    @torch.no_grad()
    def _choose(self, current: ForwardPass, tokens: Tensor, index: int) -> Tensor:
        """Indices (B, n) of the tokens that a stage keeps, counted after the prefix tokens.

        Their positions and their mask are added to the pass.
        """
        stage, fixed = current.plan.stages[index], current.plan.fixed[index]
        compared, current.compared = current.compared, None
        if compared is None:
            raise RuntimeError(_COMPILED)
        prefix = self._shape.prefix_tokens
        if self._pruning.similarity != "ffn":
            heads = compared.view(*compared.shape[:2], self._shape.num_heads, -1)
            compared = heads.mean(2, dtype=torch.promote_types(heads.dtype, torch.float32))
        chosen = choose_tokens(
            tokens[:, prefix:],
            compared[:, prefix:],
            pruning=self._pruning,
            stage=stage,
            fixed=None if fixed is None else fixed.to(tokens.device),
        )
        positions = current.positions
        positions = chosen if positions is None else positions.gather(1, chosen)
        temporal, rows, columns = current.plan.grid
        current.positions = positions
        current.kept.append(kept_mask(positions, (temporal, rows * columns)))
        return chosen

    def _plan(self, grid: tuple[int, int, int]) -> Plan:
        """The stages of a grid; ValueError where the pruning does not fit."""
        plan = self._plans.get(grid)
        if plan is None:
            stages = self._stages(self._pruning, grid)
            fixed = {
                stage.block: fixed_selection(self._pruning, stage, grid_size=grid[1:])
                for stage in stages
            }
            plan = Plan(grid, {stage.block: stage for stage in stages}, fixed)
            self._plans[grid] = plan
        return plan

    def _stages(self, pruning: Pruning, grid: tuple[int, int, int]) -> tuple[PruningStage, ...]:
        temporal, rows, columns = grid
        return vit_stages(
            pruning,
            depth=self._shape.depth,
            temporal_positions=temporal,
            spatial_tokens=rows * columns,
        )

    def _flops(self, pruning: Pruning) -> int:
        stages = self._stages(pruning, self._grid)
        flops, tokens = trunk_flops(self._shape, grid=self._grid, pruning=pruning, stages=stages)
        return flops + self._supported.head_flops(self._shape, tokens)
