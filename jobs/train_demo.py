#!/usr/bin/env python3
"""Train the demo model on a demo archive, and print its accuracy with and without pruning.

make_demo_archive.py generates both archives: TRAIN with --split train, --test with --split test.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.command_line import run_job
from pipeline.errors import UsageError
from pipeline.exit_codes import leave
from pipeline.flags import argument, flag
from pipeline.messages import tell

if TYPE_CHECKING:
    import sta
    from pipeline.lab.demo.examples import Example

ORIGIN = "trained from scratch on the generated demo archive by jobs/train_demo.py"
_EPILOG = "Exit codes: 0, trained and evaluated; 1, an error occurred; 2, the command was wrong."


@dataclass(frozen=True)
class TrainDemoOptions:
    """What the flags set."""

    train: Path = argument("archive of training videos", metavar="TRAIN")
    test: Path = flag("archive of test videos", metavar="DIR")
    out: Path = flag("weight file to write", metavar="FILE")
    minutes: float = flag("training time in minutes", 55.0, metavar="T")
    rate: float = flag("peak learning rate", 1e-3, metavar="X")
    start: Path | None = flag(
        "weight file to continue from, with all tokens from the first step (default: train from "
        "scratch, with a part of the tokens at first)",
        None,
        metavar="FILE",
    )
    batch: int = flag("clips per training step", 32, metavar="N")
    seed: int = flag(
        "random seed of the initial weights and of the training batches", 0, metavar="N"
    )
    threads: int = flag(
        "number of torch threads, and of processes that read videos", 2, metavar="N"
    )
    r: tuple[int, ...] = flag(
        "values of r to evaluate, of 49 tokens per frame", (8, 12, 16, 20), metavar="N"
    )
    evaluate_only: bool = flag("do not train; evaluate the weight file at --out", False)


def _read(folder: Path, processes: int) -> list[Example]:
    from pipeline.inputs.demo.archive import read_archive
    from pipeline.lab.demo.examples import SIZE, Example

    begin = time.monotonic()
    videos = read_archive(folder, size=SIZE, processes=processes)
    examples = [Example(frames, label_id) for frames, label_id in videos]
    tell(f"{len(examples)} videos of {folder} read in {time.monotonic() - begin:.0f} s")
    return examples


def _save(model: sta.VisionTransformer, path: Path) -> None:
    import torch

    import sta
    from pipeline.inputs.demo.scenes import LABELS

    partial = path.with_name(f".{path.name}.partial")
    sta.save_checkpoint(model, partial, labels=LABELS, origin=ORIGIN, dtype=torch.float16)
    partial.replace(path)


def _progress(step: int, seconds: float, loss: float, correct: float) -> None:
    tell(f"step {step:5d} {seconds / 60:6.1f} min  loss {loss:.3f}  correct {correct:.1%}")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    return run_job(TrainDemoOptions, _train, argv, about=__doc__, epilog=_EPILOG)


def _train(options: TrainDemoOptions) -> None:
    import torch

    import sta
    from pipeline.inputs.demo.scenes import LABELS
    from pipeline.lab.demo.evaluation import HEADING, evaluate, line, prunings
    from pipeline.lab.demo.training import Settings, continued_model, new_model, train

    try:
        settings = Settings(
            seconds=60 * options.minutes,
            batch=options.batch,
            peak=options.rate,
            seed=options.seed,
            course=() if options.start else Settings.course,
        )
        model = continued_model(options.start) if options.start else new_model(settings.seed)
        measured = prunings(options.r)
        for pruning in measured:
            sta.create_model("vit_demo", num_classes=len(LABELS), pruning=pruning)
        test = _read(options.test, options.threads)
        examples = [] if options.evaluate_only else _read(options.train, options.threads)
    except FileNotFoundError as error:
        raise UsageError(str(error)) from error
    torch.set_num_threads(options.threads)
    if not options.evaluate_only:
        latest = options.out.with_name(f"{options.out.stem}.latest{options.out.suffix}")
        model = train(
            model,
            examples,
            settings,
            report=_progress,
            keep=lambda averaged: _save(averaged, latest),
        )
        _save(model, options.out)
        latest.unlink(missing_ok=True)
    tell(f"\naccuracy on {len(test)} unseen videos\n{HEADING}")
    evaluate(options.out, test, measured, report=lambda score: tell(line(score)))


if __name__ == "__main__":
    leave(main())
