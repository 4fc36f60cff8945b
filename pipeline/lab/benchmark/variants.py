"""Model variants of the benchmark, all with the same weights.

- dense: the unpruned model, with fused attention.
- pruned: the model with STA.
- frame by frame: STA as Algorithm 1 reads, to measure the gain of the vectorized form.
- dense, un-fused and frame by frame, un-fused: with attention as three operations, what published
  speed-ups are measured with.
- transformers: Hugging Face's VideoMAE, dense, with fused attention.
- such as tome@50%: a method of `pipeline.lab.baselines` at a share of the FLOPs.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

import sta
from pipeline.lab.baselines.shares import AtShare
from pipeline.lab.benchmark.frame_by_frame import FrameByFrame
from pipeline.lab.benchmark.paired import OutputsDiffer
from pipeline.lab.benchmark.transformers_model import TransformersVideoMAE
from sta.models.create import model_from_config
from workers.inference.reduction import TokenReduction

MODES = {
    "eager": "operation by operation",
    "compile": "one graph by torch.compile",
    "graphs": "one graph by torch.compile, replayed as a CUDA graph",
}
DENSE_UNFUSED, LOOP_UNFUSED = "dense, un-fused", "frame by frame, un-fused"
_COMPILE_MODES = {"compile": "default", "graphs": "reduce-overhead"}

# Largest relative difference of logits, and smallest share of tokens that must be the same: where
# two tokens score almost alike, another order of summation chooses the other one.
_TOLERANCE = {torch.float32: (1e-2, 0.99), torch.bfloat16: (1e-1, 0.8)}

Classify = Callable[[Tensor], sta.ModelOutput]


@dataclass(frozen=True)
class ModelVariant:
    """One way to classify a batch of clips.

    Attributes:
        name: one of those above.
        mode: key of `MODES`.
        r: of its pruning, 0 for none, and for a method at a share of the FLOPs.
        flops: multiply-accumulates of one clip, by fvcore's convention.
        run: clips (B, 3, T, H, W) to logits and kept masks.
        scoring: token selection and gathering of all stages alone, for B clips; None without
            pruning or where they are not separable.
        method: name of a method at a share of the FLOPs; None for the others.
    """

    name: str
    mode: str
    r: int
    flops: int
    run: Classify
    scoring: Callable[[], object] | None = None
    method: str | None = None

    @property
    def key(self) -> tuple[str, str, int]:
        """(name, mode, r), which no two variants share."""
        return self.name, self.mode, self.r


@dataclass(frozen=True)
class TimingSetup:
    """Device, dtype and modes of the variants.

    Attributes:
        device: "cpu" or "cuda".
        dtype: of weights and activations.
        modes: keys of `MODES`; "eager" is always among them.
        batch: clips per forward pass.
    """

    device: str
    dtype: torch.dtype
    modes: tuple[str, ...]
    batch: int


def variants(
    dense: sta.VideoModel,
    pruned: Mapping[int, sta.VideoModel],
    setup: TimingSetup,
    methods: Sequence[AtShare] = (),
) -> list[ModelVariant]:
    """All variants that apply to a model: the dense ones first, then r by r, then the methods.

    Args:
        dense: the unpruned model.
        pruned: models with STA by r; they get the weights of `dense`.
        setup: where and how.
        methods: at shares of the FLOPs.
    """
    dense.to(setup.device, setup.dtype)
    made = list(_dense(dense, setup))
    for r, model in pruned.items():
        model.to(setup.device, setup.dtype).load_state_dict(dense.state_dict())
        made += _pruned(model, r, setup)
    for method in methods:
        made += _at_share(dense, method, setup)
    return made


def _at_share(dense: sta.VideoModel, method: AtShare, setup: TimingSetup) -> Iterator[ModelVariant]:
    run: Classify
    if isinstance(method.variant, TokenReduction):
        run = method.variant.apply(dense)
    else:
        run = model_from_config(
            *(dense.config, dense.architecture),
            num_classes=dense.head.out_features,
            pruning=method.variant,
        ).to(setup.device, setup.dtype)
        run.load_state_dict(dense.state_dict())
    for mode in setup.modes:
        yield ModelVariant(
            method.name, mode, 0, method.flops, _compiled(run, mode), method=method.name
        )


def _dense(model: sta.VideoModel, setup: TimingSetup) -> Iterator[ModelVariant]:
    flops = _flops(model)
    for mode in setup.modes:
        yield ModelVariant("dense", mode, 0, flops, _compiled(model, mode))
    if isinstance(model, sta.VisionTransformer):
        with contextlib.suppress(ImportError):
            theirs = TransformersVideoMAE(model)
            yield ModelVariant("transformers", "eager", 0, flops, _logits_alone(theirs))
        yield ModelVariant(DENSE_UNFUSED, "eager", 0, flops, _unfused(model))


def _pruned(model: sta.VideoModel, r: int, setup: TimingSetup) -> Iterator[ModelVariant]:
    flops = _flops(model)
    for mode in setup.modes:
        if mode != "eager" and sta.flops_vary_by_clip(model.architecture, model.pruning):
            continue  # its shapes follow the clip: there is no one graph
        scoring = None
        if isinstance(model, sta.VisionTransformer):
            scoring = _scoring(model, mode, setup)
        yield ModelVariant("pruned", mode, r, flops, _compiled(model, mode), scoring)
    if isinstance(model, sta.VisionTransformer):
        loop = FrameByFrame.like(model)
        yield ModelVariant("frame by frame", "eager", r, flops, loop)
        yield ModelVariant(LOOP_UNFUSED, "eager", r, flops, _unfused(loop))


def _flops(model: sta.VideoModel) -> int:
    return sta.estimate_flops(
        model.config, pruning=model.pruning, num_classes=model.head.out_features
    )


def _compiled(run: Callable[..., Any], mode: str) -> Callable[..., Any]:
    if mode == "eager":
        return run
    made = torch.compile(run, fullgraph=True, dynamic=False, mode=_COMPILE_MODES[mode])
    if mode != "graphs":
        return made

    new_step: Callable[[], None] = torch.compiler.cudagraph_mark_step_begin

    def replay(*inputs: Tensor) -> Any:
        new_step()  # what the last replay gave may be overwritten
        return made(*inputs)

    return replay


def _unfused(model: Classify) -> Classify:
    def run(clips: Tensor) -> sta.ModelOutput:
        with sdpa_kernel(SDPBackend.MATH):
            return model(clips)

    return run


def _logits_alone(model: Callable[[Tensor], Tensor]) -> Classify:
    return lambda clips: sta.ModelOutput(model(clips), ())


def _scoring(model: sta.VisionTransformer, mode: str, setup: TimingSetup) -> Callable[[], object]:
    """All stages' choices on tokens of the right shapes, without the rest of the model."""
    inputs = []
    dim, heads = model.config.embed_dim, model.config.num_heads
    for stage in model.stages:
        shape = setup.batch, stage.groups * stage.tokens
        x = torch.randn(*shape, dim, device=setup.device, dtype=setup.dtype)
        keys = torch.randn(*shape, dim // heads, device=setup.device)
        positions = torch.arange(shape[1], device=setup.device).expand(shape)
        inputs.append((x, keys, positions))

    def choose() -> list[Tensor]:
        chosen = zip(model.stages, inputs, strict=True)
        return [model.prune(*tensors, stage)[0] for stage, tensors in chosen]

    return _compiled(choose, mode)


def check(made: list[ModelVariant], clips: Tensor) -> dict[tuple[str, str, int], float | None]:
    """Compares every variant with the eager form of the same r; the share of tokens both kept.

    Raises:
        OutputsDiffer: logits or tokens differ by more than another order of summation explains.
    """
    shares: dict[tuple[str, str, int], float | None] = {}
    first: dict[tuple[int, str | None], sta.ModelOutput] = {}
    difference, same = _TOLERANCE[clips.dtype]
    for variant in made:
        out = variant.run(clips)
        # A CUDA graph's next replay writes over what this one gave.
        out = sta.ModelOutput(out.logits.float().clone(), tuple(mask.clone() for mask in out.kept))
        like = first.setdefault((variant.r, variant.method), out)
        shares[variant.key] = share = _same_tokens(out, like)
        norm = like.logits.norm()
        off = float((out.logits - like.logits).norm() / norm)
        if not off <= difference or (share is not None and share < same):
            tokens = "" if share is None else f" and {share:.1%} of its tokens are the same"
            raise OutputsDiffer(
                f"{variant.name} ({variant.mode}, r = {variant.r}): its logits differ by {off:.2%} "
                f"from those of the eager form{tokens}; allowed are {difference:.0%} and {same:.0%}"
            )
    return shares


def _same_tokens(out: sta.ModelOutput, like: sta.ModelOutput) -> float | None:
    if not out.kept:
        return None
    both = sum(int((a & b).sum()) for a, b in zip(out.kept, like.kept, strict=True))
    return both / sum(int(mask.sum()) for mask in like.kept)
