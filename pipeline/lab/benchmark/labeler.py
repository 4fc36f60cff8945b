"""Benchmark of the labeler: its throughput against that of its forward pass alone."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

import sta
from pipeline.flags import flag
from pipeline.lab.benchmark.paired import OutputsDiffer, Run, Spread, in_turn, ratio
from pipeline.lab.benchmark.report import Chart, Column, Report, Row, conditions
from pipeline.lab.benchmark.timing import seconds_of
from pipeline.labeling.pruning_flags import PruningFlags
from workers.inference.labeler import Frames, Labeler, LabelerConfig
from workers.inference.pixels import normalized
from workers.precisions import PRECISIONS, Precision, fast_precision
from workers.sampling import Protocol, default_protocol, protocol

# Largest relative difference of scores: float32 in another batch, or bfloat16.
_DIFFERENCE = {"float32": 1e-2, "bfloat16": 0.2}

_COLUMNS = (
    Column("architecture", "model", "architecture"),
    Column("r", "r", "tokens dropped per frame at the first stage", "d"),
    Column("batch", "batch", "views per forward pass", "d"),
    Column("precision", "precision", "what the model computes in"),
    Column("graph", "graph", "how the forward pass runs"),
    Column("views", "views", "views labeled per round", "d"),
    Column("forward", "forward views/s", "views per second, of a batch that lies there", ".1f"),
    Column("labeler", "labeler views/s", "views per second, from frames to labels", ".1f"),
    Column("kept", "kept", "the labeler's views per second over the forward pass's", ".3f"),
)


@dataclass(frozen=True)
class LabelerBenchmark:
    """What is measured.

    Attributes:
        views: clips and crops per video.
        aspect: width over height of the frames.
    """

    architectures: tuple[str, ...] = flag(
        "models", ("vit_demo",), name="arch", choices=sorted(sta.ARCHITECTURES)
    )
    r: int | None = flag(
        "tokens dropped per frame at the first stage (default: each model's own)", None, metavar="N"
    )
    batch: int | None = flag("views per forward pass (default: the device's)", None, metavar="N")
    units: int = flag("videos per round", 8, metavar="N")
    views: tuple[int, int] = (5, 3)
    aspect: float = 16 / 9
    precision: Precision | None = flag(
        "default: what the device computes fast", None, choices=PRECISIONS
    )
    compile: bool | None = flag("default: on a GPU where shapes are static", None)
    threads: int | None = flag(
        "CPU threads; one gives the steadiest figures (default: torch's)", None, metavar="N"
    )
    rounds: int = flag("how often each variant is timed", 7, metavar="N")

    def __post_init__(self) -> None:
        for name in self.architectures:
            sta.architecture_config(name)
        if min(self.units, self.rounds, self.threads or 1, *self.views) < 1 or self.aspect < 1:
            raise ValueError("units, views, threads, rounds and aspect are 1 or more")


def run_labeler(options: LabelerBenchmark, say: Callable[[str], None] = print) -> Report:
    """Times labeling and the forward pass alone, in turn; seconds of cores on a CPU.

    The forward pass alone is the labeler's own, over a batch that already lies on the device, as
    often as labeling needs it: normalization and softmax are part of both.

    Raises:
        OutputsDiffer: the labels are not the model's own.
        ValueError: the options do not fit an architecture.
    """
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    before = conditions(
        device=torch.cuda.get_device_name() if device == "cuda" else "cpu",
        threads=torch.get_num_threads(),
        seconds="of the wall clock" if device == "cuda" else "of all cores",
        views=options.views,
        units=options.units,
        rounds=options.rounds,
    )
    rows = []
    for name in options.architectures:
        rows.append(_measure(options, name, device))
        # Every labeler is a graph of the same code, and torch gives up compiling after eight.
        torch.compiler.reset()
        say(f"{name}: {rows[-1]['kept']:.3f}")
    return Report(
        part="labeler",
        title="From frames in memory to labels, against the forward pass alone",
        columns=_COLUMNS,
        rows=rows,
        conditions=before,
        chart=Chart(
            bar="kept",
            axis="labeler over forward pass, views/s",
            labels=("architecture", "r"),
            limit=1.0,
        ),
    )


def _measure(options: LabelerBenchmark, architecture: str, device: str) -> Row:
    pruning = PruningFlags(r=options.r).of(architecture)
    shape = sta.architecture_config(architecture)
    views = protocol(
        default_protocol(architecture, "k400"),
        size=shape.image_size,
        frames=shape.frames,
        views=options.views,
    )
    precision = options.precision or fast_precision("cuda" if device == "cuda" else "cpu")
    made = _labeler(options, architecture, pruning, views, precision)
    units = _units(views, options)
    _check(made, units[0], shape.image_size, _DIFFERENCE[precision])
    count = options.units * views.views
    batches = -(-count // made.batch_size)

    def forward() -> None:
        for _ in range(batches):
            made.engine.step()

    def label() -> None:
        made.label(units)

    cost = in_turn(
        {"forward": _timed(forward, device), "labeler": _timed(label, device)},
        rounds=options.rounds,
    )
    rates = {name: Spread.of([count / s for s in seconds]) for name, seconds in cost.items()}
    return {
        "architecture": architecture,
        "r": pruning.r,
        "batch": made.batch_size,
        "precision": precision,
        "graph": _graph(made),
        "views": count,
        **rates,
        "kept": ratio(cost["forward"], cost["labeler"]),
    }


def _check(made: Labeler, unit: Frames, size: int, allowed: float) -> None:
    """Compares a unit's labels with those of the model alone in float32, view by view.

    Raises:
        OutputsDiffer: they differ by more than rounding explains.
    """
    bare = sta.create_model(made.model.architecture, pruning=made.model.pruning)
    bare.load_state_dict({name: value.float() for name, value in made.model.state_dict().items()})
    bare.to(made.engine.device)
    mean, std = (
        torch.tensor(values, device=made.engine.device)
        for values in (bare.config.mean, bare.config.std)
    )
    origins = made.protocol.crop_origins(*unit.pixels.shape[1:3])
    for view in made.label([unit])[0].views:
        top, left = origins[view.crop]
        pixels = unit.pixels[unit.clip_frames[view.clip], top : top + size, left : left + size]
        clip = torch.tensor(pixels, device=made.engine.device)[None]
        with torch.inference_mode():
            want = bare(normalized(clip, mean, std)).logits.softmax(dim=-1)[0].cpu().numpy()
        off = np.linalg.norm(view.probabilities - want) / np.linalg.norm(want - want.mean())
        if not off <= allowed:
            raise OutputsDiffer(
                f"{made.model.architecture}: the labeler's scores of clip {view.clip}, crop "
                f"{view.crop} differ by {off:.2%} from the model's own; allowed are {allowed:.1%}"
            )


def _graph(made: Labeler) -> str:
    ways = [way for way in ("compiled", "captured") if getattr(made.engine.step, way)]
    return " and ".join(ways) or "eager"


def _timed(work: Callable[[], None], device: str) -> Run:
    def run() -> float:
        if device == "cuda":
            return seconds_of(work, device)
        began = time.process_time()
        work()
        return time.process_time() - began

    return run


def _labeler(
    options: LabelerBenchmark,
    architecture: str,
    pruning: sta.Pruning,
    views: Protocol,
    precision: Precision,
) -> Labeler:
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "random.safetensors"
        model = sta.create_model(architecture)
        sta.save_checkpoint(model, path, labels=list(model.labels), origin="random weights")
        config = LabelerConfig(
            str(path),
            pruning=pruning,
            batch_size=options.batch,
            compile=options.compile,
            precision=precision,
        )
        return Labeler(config, views)


def _units(views: Protocol, options: LabelerBenchmark) -> list[Frames]:
    """Videos of noise that share their frames, which nobody may write, as in the object store."""
    height, width = views.short_side, int(views.short_side * options.aspect)
    shape = (views.clips * views.frames, height, width, 3)
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    pixels.flags.writeable = False
    rows = np.arange(len(pixels), dtype=np.int32).reshape(views.clips, views.frames)
    return [Frames(str(number), pixels, rows) for number in range(options.units)]
