"""Benchmark of precisions: a labeler's forward pass in bfloat16 against the same in float32."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

import sta
from pipeline.flags import flag
from pipeline.lab.benchmark.model import moving_clips
from pipeline.lab.benchmark.paired import OutputsDiffer, Run, Spread, in_turn, ratio
from pipeline.lab.benchmark.report import Chart, Column, Report, Row, conditions
from pipeline.lab.benchmark.timing import seconds_of
from workers.devices import device_for, device_name
from workers.inference.engine import Engine
from workers.inference.labeler_config import LabelerConfig
from workers.inference.output_buffer import Outputs
from workers.inference.views import Frames
from workers.precisions import PRECISIONS
from workers.sampling import default_protocol, protocol

# Largest relative difference of the probabilities, and smallest share of tokens that are the same.
_DIFFERENCE, _SAME_TOKENS = 0.2, 0.8

_COLUMNS = (
    Column("architecture", "model", "architecture"),
    Column("r", "r", "tokens dropped per frame at the first stage", "d"),
    Column("batch", "B", "views per forward pass", "d"),
    Column("gflops", "GFLOPs", "1e9 multiply-accumulates of one view, fvcore's convention", ".4g"),
    Column("float32", "float32 views/s", "views per second in float32", ".3g"),
    Column("bfloat16", "bfloat16 views/s", "views per second in bfloat16", ".3g"),
    Column("speedup", "speed-up", "views per second in bfloat16 over those in float32", ".2f"),
    Column("products", "of products", "the same ratio of a large matrix product", ".2f"),
    Column("difference", "difference", "of the probabilities, relative to their spread", ".2%"),
    Column("same_tokens", "same", "share of kept tokens that both keep", ".1%"),
)


@dataclass(frozen=True)
class PrecisionBenchmark:
    """What is measured; each field is a flag."""

    architectures: tuple[str, ...] = flag(
        "models; vit_demo has its trained weights, the others random ones",
        ("vit_small", "vit_demo"),
        name="arch",
        choices=sorted(sta.ARCHITECTURES),
    )
    r: tuple[int, ...] | None = flag(
        "tokens dropped per frame at the first stage (default: each model's own)", None, metavar="N"
    )
    batch: int = flag("views per forward pass", 8, metavar="N")
    threads: int = flag("CPU threads", 1, metavar="N")
    rounds: int = flag("how often each precision is timed", 7, metavar="N")

    def __post_init__(self) -> None:
        if min(self.batch, self.threads, self.rounds) < 1:
            raise ValueError("batch, threads and rounds are 1 or more")


def run_precision(options: PrecisionBenchmark, say: Callable[[str], None] = print) -> Report:
    """Compares the outputs of both precisions, then times their forward passes in turn.

    Seconds are those of cores on a CPU, of the clock on a GPU.

    Raises:
        OutputsDiffer: they differ by more than rounding explains.
        ValueError: r does not fit an architecture.
    """
    torch.set_num_threads(options.threads)
    device = device_for(None)
    before = conditions(device=device_name(device), threads=options.threads, rounds=options.rounds)
    rows = []
    for architecture in options.architectures:
        for r in options.r or (sta.default_pruning(architecture).r,):
            rows.append(_measure(options, architecture, r, device.type))
            say(f"{architecture}, r = {r}: {rows[-1]['speedup']:.2f}")
            torch.compiler.reset()
    return Report(
        part="precision",
        title="A labeler's forward pass in bfloat16 against the same in float32",
        columns=_COLUMNS,
        rows=rows,
        conditions=before,
        chart=Chart(
            bar="speedup",
            axis="times the views per second in float32",
            labels=("architecture", "r", "batch"),
            limit=1.0,
        ),
    )


def _measure(options: PrecisionBenchmark, architecture: str, r: int, device: str) -> Row:
    engines = _engines(options, architecture, sta.Pruning(r=r))
    outputs = {name: _outputs(engine) for name, engine in engines.items()}
    row = _compared(outputs["float32"], outputs["bfloat16"])
    same = 1.0 if row["same_tokens"] is None else row["same_tokens"]
    if row["difference"] > _DIFFERENCE or same < _SAME_TOKENS:
        raise OutputsDiffer(
            f"{architecture}, r = {r}: the probabilities in bfloat16 differ by "
            f"{row['difference']:.2%} from those in float32, and {same:.1%} of the kept tokens "
            f"are the same; allowed are {_DIFFERENCE:.0%} and {_SAME_TOKENS:.0%}"
        )
    runs = {name: _timed(engine.step, device) for name, engine in engines.items()}
    runs |= {f"product {name}": _timed(_product(name, device), device) for name in engines}
    cost = in_turn(runs, rounds=options.rounds)
    model = engines["float32"].model
    flops = sta.estimate_flops(
        model.config, pruning=model.pruning, num_classes=model.head.out_features
    )
    rates = {name: Spread.of([options.batch / s for s in cost[name]]) for name in engines}
    speedup = ratio(cost["float32"], cost["bfloat16"])
    return (
        row
        | rates
        | {
            "architecture": architecture,
            "r": r,
            "batch": options.batch,
            "gflops": flops / 1e9,
            "speedup": speedup,
            "products": ratio(cost["product float32"], cost["product bfloat16"]),
        }
    )


def _engines(
    options: PrecisionBenchmark, architecture: str, pruning: sta.Pruning
) -> dict[str, Engine]:
    """An engine of each precision, with the same weights and the same batch."""
    torch.manual_seed(0)
    shape = sta.architecture_config(architecture)
    views = protocol(
        default_protocol(architecture, "k400"),
        size=shape.image_size,
        frames=shape.frames,
        views=(options.batch, 1),
    )
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = "demo"
        if architecture != "vit_demo":
            model = sta.create_model(architecture)
            checkpoint = str(Path(folder) / "random.safetensors")
            sta.save_checkpoint(
                model, Path(checkpoint), labels=list(model.labels), origin="random weights"
            )
        engines: dict[str, Engine] = {}
        for precision in PRECISIONS:
            config = LabelerConfig(
                checkpoint, pruning=pruning, batch_size=options.batch, precision=precision
            )
            engines[precision] = Engine(config, views, views_per_load=options.batch)
    unit = _unit(options.batch, shape.input_shape)
    for engine in engines.values():
        loaded, _ = engine.load(unit, options.batch)
        engine.fill(loaded, views.crop_origins(*unit.pixels.shape[1:3]))
    return engines


def _unit(batch: int, shape: tuple[int, int, int, int]) -> Frames:
    """As many clips of something that moves as a batch holds."""
    pixels = (moving_clips(batch, shape) * 40 + 128).clamp(0, 255).to(torch.uint8)
    frames = pixels.permute(0, 2, 3, 4, 1).flatten(0, 1).contiguous().numpy()
    rows = np.arange(len(frames), dtype=np.int32).reshape(batch, -1)
    return Frames("moving", frames, rows)


def _outputs(engine: Engine) -> Outputs:
    return tuple(output.cpu().clone() for output in engine.step())


def _compared(float32: Outputs, bfloat16: Outputs) -> dict[str, Any]:
    (_, want, *masks), (_, got, *others) = float32, bfloat16
    difference = float((got - want).norm() / (want - want.mean(dim=1, keepdim=True)).norm())
    kept = sum(int(mask.sum()) for mask in masks)
    both = sum(int((a & b).sum()) for a, b in zip(masks, others, strict=True))
    return {"difference": difference, "same_tokens": both / kept if kept else None}


def _product(precision: str, device: str) -> Callable[[], object]:
    """A large matrix product, whose speed is what a forward pass could reach."""
    a, b = (torch.randn(1024, 1024, device=device).to(getattr(torch, precision)) for _ in range(2))
    return lambda: a @ b


def _timed(work: Callable[[], object], device: str) -> Run:
    def run() -> float:
        if device == "cuda":
            return seconds_of(work, device)
        began = time.process_time()
        work()
        return time.process_time() - began

    return run
