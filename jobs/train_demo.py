#!/usr/bin/env python3
"""Train the demo model on a demo archive, and print what pruning costs it.

Both archives come from make_demo_archive.py, one with --split train, one with --split test.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import torch

import sta
from pipeline.command_line import JobParser
from pipeline.inputs.demo.archive import read_archive
from pipeline.inputs.demo.scenes import LABELS
from pipeline.lab.demo.evaluation import HEADING, evaluate, line, prunings
from pipeline.lab.demo.examples import SIZE, Example
from pipeline.lab.demo.training import Settings, continued_model, new_model, train

ORIGIN = "trained from scratch on the generated demo archive by jobs/train_demo.py"


def _parser() -> argparse.ArgumentParser:
    parser = JobParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("train", type=Path, metavar="TRAIN", help="archive to learn from")
    parser.add_argument("--test", type=Path, required=True, help="archive of unseen videos")
    parser.add_argument("--out", type=Path, required=True, help="weight file to write")
    parser.add_argument("--minutes", type=float, default=55.0, help="time to train for")
    parser.add_argument("--rate", type=float, default=Settings.peak, help="largest learning rate")
    parser.add_argument(
        "--start",
        type=Path,
        help="weight file to go on from, with all tokens from the first step; without it the "
        "model starts from scratch, with some of them",
    )
    parser.add_argument("--batch", type=int, default=Settings.batch, help="clips per step")
    parser.add_argument("--seed", type=int, default=0, help="of the weights and of every draw")
    parser.add_argument("--threads", type=int, default=2, help="threads, and reading processes")
    parser.add_argument(
        "--r", type=int, nargs="*", default=[8, 12, 16, 20], help="prunings to measure, of 49"
    )
    parser.add_argument(
        "--evaluate-only", action="store_true", help="measure the file at --out as it is"
    )
    return parser


def _read(folder: Path, processes: int) -> list[Example]:
    begin = time.monotonic()
    videos = read_archive(folder, size=SIZE, processes=processes)
    examples = [Example(frames, label_id) for frames, label_id in videos]
    print(
        f"{len(examples)} videos of {folder} read in {time.monotonic() - begin:.0f} s", flush=True
    )
    return examples


def _save(model: sta.VisionTransformer, path: Path) -> None:
    partial = path.with_name(f".{path.name}.partial")
    sta.save_checkpoint(model, partial, labels=LABELS, origin=ORIGIN, dtype=torch.float16)
    partial.replace(path)


def _progress(step: int, seconds: float, loss: float, right: float) -> None:
    print(f"step {step:5d} {seconds / 60:6.1f} min  loss {loss:.3f}  right {right:.1%}", flush=True)


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    options = _parser().parse_args(arguments)
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
    except (ValueError, FileNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
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
    print(f"\naccuracy on {len(test)} unseen videos\n{HEADING}", flush=True)
    evaluate(options.out, test, measured, report=lambda score: print(line(score), flush=True))
    return 0


if __name__ == "__main__":
    sys.exit(main())
