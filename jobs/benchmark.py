#!/usr/bin/env python3
"""Benchmark models, decoding and the pipeline; outputs are compared before anything is timed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.command_line import JobParser
from pipeline.exit_codes import exit_code, leave
from pipeline.flags import add_flags, flag, options_of
from pipeline.messages import say, tell

if TYPE_CHECKING:
    from pipeline.lab.benchmark.report import Report

Part = tuple[type[Any], "Callable[..., Report]"]

_EPILOG = "Exit codes: 0, measured; 1, outputs that must be equal differ; 2, the command was wrong."


@dataclass(frozen=True)
class Output:
    """Where the results go."""

    out: Path = flag("folder of the results", Path("benchmark"), metavar="DIR")


# Each part imports what it needs: a GPU machine that times models has no need of Ray, nor of what
# decodes videos.


def _model() -> Part:
    from pipeline.lab.benchmark.model import ModelBenchmark, run_model

    return ModelBenchmark, run_model


def _decode() -> Part:
    from pipeline.lab.benchmark.decode import DecodeBenchmark, run_decode

    return DecodeBenchmark, run_decode


def _labeler() -> Part:
    from pipeline.lab.benchmark.labeler import LabelerBenchmark, run_labeler

    return LabelerBenchmark, run_labeler


def _precision() -> Part:
    from pipeline.lab.benchmark.precision import PrecisionBenchmark, run_precision

    return PrecisionBenchmark, run_precision


def _pipeline() -> Part:
    from pipeline.lab.benchmark.pipeline import PipelineBenchmark, run_pipeline

    return PipelineBenchmark, run_pipeline


def _chain() -> Part:
    from pipeline.lab.benchmark.chain import ChainBenchmark, run_chain

    return ChainBenchmark, run_chain


_PARTS = {
    "model": ("pruned and unpruned models, on a CPU or a GPU", _model),
    "decode": ("this decoder, the ffmpeg command and plain PyAV", _decode),
    "labeler": ("the throughput of a labeler and of its model alone", _labeler),
    "precision": ("a forward pass in bfloat16 and in float32", _precision),
    "chain": ("what a video costs from its file to its label, way by way", _chain),
    "pipeline": ("labeling through Ray and in a plain loop", _pipeline),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code."""

    def work() -> None:
        words = sys.argv[1:] if argv is None else list(argv)
        parser = JobParser(description=__doc__, epilog=_EPILOG, config=False)
        parts = parser.add_subparsers(dest="part", required=True, metavar="PART")
        for name, (about, load) in _PARTS.items():
            part = parts.add_parser(name, help=about, description=about, epilog=_EPILOG)
            if name in words[:1]:
                options, run = load()
                add_flags(part, options)
                add_flags(part, Output)
        arguments = parser.parse_args(words)
        report = run(options_of(options, arguments), say=say)
        tell(report.text())
        from pipeline.lab.benchmark.report import save

        for path in save(report, arguments.out):
            tell(f"{'Plot:' if path.suffix == '.svg' else 'Report:':<10} {path}")

    return exit_code(work, resumes=False)


if __name__ == "__main__":
    leave(main())
