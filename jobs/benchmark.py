#!/usr/bin/env python3
"""Measure models, decoding and the pipeline; outputs are checked for equality before any timing."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import sta
from pipeline.benchmark.decode import DecodeBenchmark, run_decode
from pipeline.benchmark.labeller import LabellerBenchmark, run_labeller
from pipeline.benchmark.model import DEVICES, DTYPES, ModelBenchmark, run_model
from pipeline.benchmark.paired import OutputsDiffer
from pipeline.benchmark.variants import MODES
from pipeline.benchmark.whole import PipelineBenchmark, run_pipeline
from workers.sampling import parse_views


def _part(
    parts: argparse._SubParsersAction[argparse.ArgumentParser], name: str, what: str
) -> argparse.ArgumentParser:
    made = parts.add_parser(name, help=what, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    made.add_argument("--out", type=Path, default=Path("benchmark"), help="folder of the results")
    made.add_argument("--rounds", type=int, default=7, help="how often each variant is timed")
    return made


def _model(parts: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    made = _part(parts, "model", "pruned against unpruned models, on a CPU or a GPU")
    default = ModelBenchmark(device="cpu")
    made.add_argument(
        "--arch",
        nargs="+",
        choices=sorted(sta.ARCHITECTURES),
        default=list(default.architectures),
        help="models",
    )
    made.add_argument(
        "--r",
        nargs="+",
        type=int,
        help="tokens dropped per frame at the first stage; None for each model's own",
    )
    made.add_argument(
        "--batch", nargs="+", type=int, default=list(default.batches), help="clips per forward pass"
    )
    made.add_argument(
        "--mode",
        nargs="+",
        choices=list(MODES),
        default=list(default.modes),
        help="; ".join(f"{mode}: {about}" for mode, about in MODES.items()),
    )
    made.add_argument(
        "--pruning",
        choices=["released", "paper"],
        default=default.grouping,
        help="grouping of STA's stages",
    )
    made.add_argument("--device", choices=DEVICES, help="None for a GPU where there is one")
    made.add_argument("--dtype", choices=list(DTYPES), help="None for bfloat16 on a GPU")
    made.add_argument("--threads", type=int, help="CPU threads; None for torch's own choice")
    made.set_defaults(
        run=lambda a: run_model(
            ModelBenchmark(
                architectures=tuple(a.arch),
                r=None if a.r is None else tuple(a.r),
                batches=tuple(a.batch),
                modes=tuple(a.mode),
                grouping=a.pruning,
                device=a.device,
                dtype=a.dtype,
                threads=a.threads,
                rounds=a.rounds,
            ),
            say=_say,
        )
    )


def _decode(parts: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    made = _part(parts, "decode", "decoding against ffmpeg's and PyAV's plain decoding")
    default = DecodeBenchmark()
    made.add_argument(
        "--videos", nargs="*", type=Path, default=[], help="files to measure on besides made clips"
    )
    made.add_argument(
        "--seconds", type=float, default=default.seconds, help="length of the made clips"
    )
    made.add_argument(
        "--long-seconds",
        type=float,
        default=default.long_seconds,
        help="length of the made recording, of which no more frames are wanted",
    )
    made.set_defaults(
        run=lambda a: run_decode(
            DecodeBenchmark(
                rounds=a.rounds,
                videos=tuple(a.videos),
                seconds=a.seconds,
                long_seconds=a.long_seconds,
            ),
            say=_say,
        )
    )


def _labeller(parts: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    made = _part(parts, "labeller", "what the labeller keeps of its model's throughput")
    default = LabellerBenchmark()
    made.add_argument(
        "--arch",
        nargs="+",
        choices=sorted(sta.ARCHITECTURES),
        default=list(default.architectures),
        help="models",
    )
    made.add_argument("--r", type=int, help="None for each model's own")
    made.add_argument("--batch", type=int, help="views per forward pass; None for the device's own")
    made.add_argument("--units", type=int, default=default.units, help="videos per round")
    made.add_argument(
        "--compile",
        action=argparse.BooleanOptionalAction,
        help="None for a GPU where shapes are static",
    )
    made.add_argument("--threads", type=int, help="CPU threads; None for torch's own choice")
    made.set_defaults(
        run=lambda a: run_labeller(
            LabellerBenchmark(
                architectures=tuple(a.arch),
                r=a.r,
                batch=a.batch,
                units=a.units,
                compile=a.compile,
                threads=a.threads,
                rounds=a.rounds,
            ),
            say=_say,
        )
    )


def _pipeline(parts: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    made = _part(parts, "pipeline", "labelling through Ray against a plain loop of the same work")
    default = PipelineBenchmark()
    made.add_argument("--source", help="directory or manifest of videos; None for made ones")
    made.add_argument("--videos", type=int, default=default.videos, help="how many of them")
    made.add_argument(
        "--passes", type=int, default=default.passes, help="how often each is labelled in a round"
    )
    made.add_argument("--checkpoint", default=default.checkpoint, help="as in the labelling jobs")
    made.add_argument("--r", type=int, help="None for the model's own")
    made.add_argument("--views", metavar="CxS", help="None for the protocol's own")
    made.set_defaults(
        run=lambda a: run_pipeline(
            PipelineBenchmark(
                source=a.source,
                videos=a.videos,
                passes=a.passes,
                checkpoint=a.checkpoint,
                r=a.r,
                views=None if a.views is None else parse_views(a.views),
                rounds=a.rounds,
            ),
            say=_say,
        )
    )


def main() -> int:
    """0: measured; 1: outputs that must agree differ; 2: the command was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parts = parser.add_subparsers(dest="part", required=True, metavar="PART")
    _model(parts)
    _decode(parts)
    _labeller(parts)
    _pipeline(parts)
    arguments = parser.parse_args()
    try:
        report = arguments.run(arguments)
    except OutputsDiffer as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(report.text())
    for path in report.save(arguments.out):
        print(path)
    return 0


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
