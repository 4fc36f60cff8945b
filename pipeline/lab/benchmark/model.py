"""Benchmark of models: pruned against unpruned with fused attention, on this machine."""

from __future__ import annotations

import dataclasses
import gc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

import sta
from pipeline.flags import flag
from pipeline.formatting import counted
from pipeline.lab.baselines.shares import (
    METHODS,
    AtShare,
    at_shares_of_sta,
    fitting,
    parse_name,
)
from pipeline.lab.benchmark.paired import Run, Spread, in_turn, ratio
from pipeline.lab.benchmark.report import Chart, Column, Report, Row, conditions
from pipeline.lab.benchmark.timing import matmul_rate, nominal_rate, seconds_of
from pipeline.lab.benchmark.variants import (
    DENSE_UNFUSED,
    LOOP_UNFUSED,
    MODES,
    ModelVariant,
    TimingSetup,
    check,
    variants,
)
from sta.pruning import Grouping

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
DEVICES = ("cpu", "cuda")

# A graph is recorded and replayed for the first time in the rounds before those that count.
_WARMUP = {"cpu": 1, "cuda": 4}

# Amplitude of the noise in generated clips.
_NOISE = 0.05

# Every r and mode is a graph of the same code, and torch gives up compiling after eight.
_GRAPHS = 64


@dataclass(frozen=True)
class ModelBenchmark:
    """What is measured; each field is a flag."""

    architectures: tuple[str, ...] = flag(
        "models", ("vit_small", "vit_demo"), name="arch", choices=sorted(sta.ARCHITECTURES)
    )
    r: tuple[int, ...] | None = flag(
        "tokens dropped per frame at the first stage (default: each model's own)", None, metavar="N"
    )
    methods: tuple[str, ...] = flag(
        f"methods at a share of the unpruned model's FLOPs, such as tome@50% "
        f"({', '.join(METHODS)}; @50% for all of them)",
        (),
        metavar="NAME",
    )
    batches: tuple[int, ...] = flag("clips per forward pass", (2,), name="batch", metavar="N")
    modes: tuple[str, ...] = flag(
        "; ".join(f"{mode}: {what}" for mode, what in MODES.items()),
        ("eager",),
        name="mode",
        choices=list(MODES),
    )
    grouping: Grouping = flag("of frames, as in STA's released code or the paper", "released")
    device: str | None = flag("default: a GPU where there is one", None, choices=DEVICES)
    dtype: str | None = flag(
        "of weights and activations (default: bfloat16 on a GPU)", None, choices=list(DTYPES)
    )
    threads: int | None = flag("CPU threads (default: torch's)", None, metavar="N")
    rounds: int = flag("how often each variant is timed", 7, metavar="N")

    def __post_init__(self) -> None:
        device = self.device or ("cuda" if torch.cuda.is_available() else "cpu")
        object.__setattr__(self, "device", device)
        dtype = self.dtype or ("bfloat16" if device == "cuda" else "float32")
        object.__setattr__(self, "dtype", dtype)
        _allowed("architectures", self.architectures, tuple(sorted(sta.ARCHITECTURES)))
        _allowed("modes", self.modes, tuple(MODES))
        _allowed("device", (device,), DEVICES)
        _allowed("dtype", (dtype,), tuple(DTYPES))
        if "graphs" in self.modes and device != "cuda":
            raise ValueError("mode graphs needs a CUDA device")
        if device == "cuda" and not torch.cuda.is_available():
            raise ValueError("torch sees no CUDA device here")
        for name in self.methods:
            parse_name(name)
        numbers = [self.rounds, *self.batches, *(self.r or ())]
        if min([*numbers, 1 if self.threads is None else self.threads]) < 1:
            raise ValueError("rounds, batches, threads and r are 1 or more; r = 0 is always timed")


def _allowed(name: str, values: Sequence[str], allowed: tuple[str, ...]) -> None:
    for value in values:
        if value not in allowed:
            raise ValueError(f"{name}: there are {', '.join(allowed)}; got {value!r}")


def run_model(options: ModelBenchmark, say: Callable[[str], None] = print) -> Report:
    """Checks all variants against each other, then times them in turn.

    Raises:
        ValueError: r does not fit an architecture.
        OutputsDiffer: two variants disagree.
    """
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    torch._dynamo.config.recompile_limit = _GRAPHS
    device, dtype = str(options.device), DTYPES[str(options.dtype)]
    before = conditions(
        device=torch.cuda.get_device_name() if device == "cuda" else "cpu",
        threads=torch.get_num_threads(),
        dtype=options.dtype,
        grouping=options.grouping,
        rounds=options.rounds,
        shapes={name: sta.architecture_config(name).input_shape for name in options.architectures},
    )
    peaks = matmul_rate(device, dtype), nominal_rate(device, dtype)
    rows: list[Row] = []
    for architecture in options.architectures:
        for batch in options.batches:
            modes = tuple(dict.fromkeys(("eager", *options.modes)))
            setup = TimingSetup(device=device, dtype=dtype, modes=modes, batch=batch)
            rows += _measure(options, architecture, setup, peaks, say)
            torch.compiler.reset()
            gc.collect()
    return _report(options, rows, before | {"matmul_tflops": 2 * peaks[0] / 1e12})


@torch.inference_mode()
def _measure(
    options: ModelBenchmark,
    architecture: str,
    setup: TimingSetup,
    peaks: tuple[float, float | None],
    say: Callable[[str], None],
) -> list[Row]:
    torch.manual_seed(0)
    dense = sta.create_model(architecture)
    pruned: dict[int, sta.VideoModel] = {
        r: sta.create_model(architecture, pruning=sta.Pruning(r=r, grouping=options.grouping))
        for r in options.r or (sta.default_pruning(architecture).r,)
    }
    made = variants(dense, pruned, setup, _methods(options, dense))
    clips = moving_clips(setup.batch, dense.config.input_shape)
    clips = clips.to(setup.device, setup.dtype)
    say(f"{architecture}, batches of {setup.batch}: checking {len(made)} variants")
    same = check(made, clips)
    say(f"{architecture}, batches of {setup.batch}: timing them {options.rounds} times")
    cost = _cost(made, clips, setup.device, options.rounds)
    return [
        {"architecture": architecture, "batch": setup.batch, "same_tokens": same[variant.key]} | row
        for variant, row in zip(made, _rows(made, cost, setup.batch, peaks), strict=True)
    ]


def _methods(options: ModelBenchmark, dense: sta.VideoModel) -> list[AtShare]:
    pruning = dataclasses.replace(
        sta.default_pruning(dense.architecture), grouping=options.grouping
    )
    classes = dense.head.out_features
    return [
        found
        for name in options.methods
        for methods, share in [parse_name(name)]
        for found in at_shares_of_sta(
            fitting(name, methods, dense.config),
            share,
            dense.config,
            num_classes=classes,
            pruning=pruning,
        )
    ]


def _cost(
    made: list[ModelVariant], clips: Tensor, device: str, rounds: int
) -> dict[Any, list[float]]:
    """Seconds per round of each variant, by its key, and of its scoring, by ("scoring", key)."""

    def timed(work: Callable[..., object], *inputs: Tensor) -> Run:
        return lambda: seconds_of(lambda: work(*inputs), device)

    runs: dict[Any, Run] = {variant.key: timed(variant.run, clips) for variant in made}
    for variant in made:
        if variant.scoring is not None:
            runs["scoring", variant.key] = timed(variant.scoring)
    return in_turn(runs, rounds=rounds, warmup=_WARMUP[device])


def _rows(
    made: list[ModelVariant],
    cost: dict[Any, list[float]],
    batch: int,
    peaks: tuple[float, float | None],
) -> Iterator[dict[str, Any]]:
    flops = {variant.key: variant.flops for variant in made}
    for variant in made:
        own = cost[variant.key]
        dense = ("dense", variant.mode, 0)
        speedup = ratio(cost[dense], own)
        flops_ratio = flops[dense] / variant.flops
        rate = Spread.of([batch / seconds for seconds in own])
        row: dict[str, Any] = {
            "variant": variant.name,
            "mode": variant.mode,
            "r": variant.r if variant.method is None else None,
            "gflops": variant.flops / 1e9,
            "clips_per_s": rate,
            "speedup": speedup,
            "flops_ratio": flops_ratio,
            "reached": speedup.median / flops_ratio,
            "matmul_share": variant.flops * rate.median / peaks[0],
        }
        if peaks[1] is not None:
            row["nominal_share"] = variant.flops * rate.median / peaks[1]
        for column, other in (
            ("over_unfused", (LOOP_UNFUSED if variant.r else DENSE_UNFUSED, "eager", variant.r)),
            ("over_transformers", ("transformers", "eager", 0)),
        ):
            if other in cost and variant.name in ("dense", "pruned"):
                row[column] = ratio(cost[other], own)
        if variant.scoring is not None:
            row["scoring"] = ratio(cost["scoring", variant.key], own)
        yield row


_COLUMNS = (
    Column("architecture", "model", "architecture"),
    Column("variant", "variant", "how the batch was classified"),
    Column("mode", "mode", "how the operations were run"),
    Column("batch", "B", "clips per forward pass", "d"),
    Column("r", "r", "tokens dropped per frame at the first stage", "d"),
    Column("gflops", "GFLOPs", "1e9 multiply-accumulates of one clip, fvcore's convention", ".4g"),
    Column("clips_per_s", "clips/s", "clips per second", ".3g"),
    Column("speedup", "speed-up", "over the dense model with fused attention, same mode", ".2f"),
    Column("flops_ratio", "FLOPs ratio", "FLOPs of the dense model over this one's", ".2f"),
    Column("reached", "reached", "share of the FLOPs ratio that the speed-up is", ".2f"),
    Column("scoring", "scoring", "choosing and gathering over the whole forward pass", ".1%"),
    Column("over_transformers", "x transf.", "speed-up over transformers' dense VideoMAE", ".2f"),
    Column(
        "over_unfused",
        "x un-fused",
        "speed-up over un-fused: dense, or frame by frame at the same r",
        ".2f",
    ),
    Column("same_tokens", "same", "share of kept tokens that the eager form keeps too", ".1%"),
    Column("matmul_share", "of matmul", "FLOP/s over those of a large matrix product here", ".0%"),
    Column("nominal_share", "of peak", "FLOP/s over what the GPU's maker names", ".0%"),
)


def _report(options: ModelBenchmark, rows: list[Row], measured: dict[str, Any]) -> Report:
    present = [column for column in _COLUMNS if any(column.name in row for row in rows)]
    return Report(
        part="model",
        title="Pruned against the same model unpruned, with fused attention",
        columns=present,
        rows=rows,
        conditions=measured,
        chart=Chart(
            bar="speedup",
            axis="times the clips per second of the unpruned model in the same mode",
            labels=("architecture", "variant", "mode", "batch", "r"),
            mark="flops_ratio",
            limit=1.0,
        ),
        notes=(
            f"Medians (quartiles) of {counted(options.rounds, 'rounds')}, ratios round by round; "
            f"{measured['device']}, {counted(measured['threads'], 'threads')}, "
            f"{measured['dtype']}.",
        ),
    )


def moving_clips(batch: int, shape: tuple[int, int, int, int]) -> Tensor:
    """Float32 (batch, 3, T, H, W) of about unit variance, the same for the same arguments."""
    channels, frames, height, width = shape
    draw = torch.Generator().manual_seed(0)

    def texture(cells: int, size: tuple[int, int]) -> Tensor:
        coarse = torch.randn(batch, channels, cells, cells, generator=draw)
        return functional.interpolate(coarse, size=size, mode="bilinear")

    still = texture(7, (height, width))
    side = height // 3
    thing = 2 * texture(4, (side, side))
    clip = still[:, :, None].repeat(1, 1, frames, 1, 1)
    for frame in range(frames):
        left = (width - side) * frame // max(frames - 1, 1)
        clip[:, :, frame, side : 2 * side, left : left + side] = thing
    return clip + _NOISE * torch.randn(clip.shape, generator=draw)
