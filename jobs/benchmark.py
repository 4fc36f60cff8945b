#!/usr/bin/env python3
"""Measure models, decoding and the pipeline; outputs are checked for equality before any timing."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sta
from pipeline.command_line import JobParser
from pipeline.lab.benchmark.paired import OutputsDiffer
from pipeline.lab.benchmark.report import Report
from pipeline.lab.benchmark.saving import save
from workers.sampling import parse_views

_ARCHITECTURES = {"nargs": "+", "choices": sorted(sta.ARCHITECTURES), "dest": "architectures"}


class _Flags:
    """The flags of a part, each named after the field of the part's options that it sets."""

    def __init__(
        self, parser: argparse.ArgumentParser, options: type[Any], run: Callable[..., Report]
    ) -> None:
        self._parser = parser
        self._defaults = {field.name: field.default for field in dataclasses.fields(options)}
        parser.set_defaults(options=options, run=run)
        parser.add_argument("--out", type=Path, default="benchmark", help="folder of the results")
        self.add("rounds", "how often each variant is timed", type=int)

    def add(self, name: str, about: str, **settings: Any) -> None:
        """Adds --NAME with the default of its field."""
        field = settings.get("dest", name.replace("-", "_"))
        self._parser.add_argument(
            f"--{name}", help=about, default=self._defaults[field], **settings
        )


# Each part imports what it needs: a GPU machine that times models has no need of Ray, nor of what
# decodes videos.


def _model(parser: argparse.ArgumentParser) -> None:
    from pipeline.lab.benchmark.model import DEVICES, DTYPES, ModelBenchmark, run_model
    from pipeline.lab.benchmark.variants import MODES

    flags = _Flags(parser, ModelBenchmark, run_model)
    flags.add("arch", "models", **_ARCHITECTURES)
    flags.add("r", "dropped per frame at first; None for each model's own", nargs="+", type=int)
    flags.add("batch", "clips per forward pass", nargs="+", type=int, dest="batches")
    modes = "; ".join(f"{mode}: {what}" for mode, what in MODES.items())
    flags.add("mode", modes, nargs="+", choices=list(MODES), dest="modes")
    groupings = ["released", "paper"]
    flags.add("grouping", "of frames, as in STA's code or paper", choices=groupings)
    flags.add("device", "None for a GPU where there is one", choices=DEVICES)
    flags.add("dtype", "None for bfloat16 on a GPU", choices=list(DTYPES))
    flags.add("threads", "CPU threads; None for torch's own choice", type=int)


def _decode(parser: argparse.ArgumentParser) -> None:
    from pipeline.lab.benchmark.decode import DecodeBenchmark, run_decode

    flags = _Flags(parser, DecodeBenchmark, run_decode)
    flags.add("videos", "files to measure on besides made clips", nargs="*", type=Path)
    flags.add("seconds", "length of the made clips", type=float)
    flags.add("long-seconds", "length of the made recording", type=float)


def _labeler(parser: argparse.ArgumentParser) -> None:
    from pipeline.lab.benchmark.labeler import LabelerBenchmark, run_labeler

    flags = _Flags(parser, LabelerBenchmark, run_labeler)
    flags.add("arch", "models", **_ARCHITECTURES)
    flags.add("r", "None for each model's own", type=int)
    flags.add("batch", "views per forward pass; None for the device's own", type=int)
    flags.add("units", "videos per round", type=int)
    switch = argparse.BooleanOptionalAction
    flags.add("compile", "None for a GPU where shapes are static", action=switch)
    flags.add("threads", "CPU threads; None for torch's own choice", type=int)


def _pipeline(parser: argparse.ArgumentParser) -> None:
    from pipeline.lab.benchmark.whole import PipelineBenchmark, run_pipeline

    flags = _Flags(parser, PipelineBenchmark, run_pipeline)
    flags.add("source", "directory or manifest of videos; None for made ones")
    flags.add("videos", "how many of them", type=int)
    flags.add("passes", "how often each is labeled in a round", type=int)
    flags.add("checkpoint", "as in the labeling jobs")
    flags.add("r", "None for the model's own", type=int)
    flags.add("views", "None for the protocol's own", metavar="CxS", type=_views)


def _views(text: str) -> tuple[int, int]:
    try:
        return parse_views(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


_PARTS = {
    "model": ("pruned against unpruned models, on a CPU or a GPU", _model),
    "decode": ("decoding against ffmpeg's and PyAV's plain decoding", _decode),
    "labeler": ("what the labeler keeps of its model's throughput", _labeler),
    "pipeline": ("labeling through Ray against a plain loop of the same work", _pipeline),
}


def _parser(chosen: str | None) -> argparse.ArgumentParser:
    """All parts, with the flags of the chosen one."""
    parser = JobParser(description=__doc__)
    parts = parser.add_subparsers(dest="part", required=True, metavar="PART")
    for name, (about, add_flags) in _PARTS.items():
        formatter = argparse.ArgumentDefaultsHelpFormatter
        part = parts.add_parser(name, help=about, description=about, formatter_class=formatter)
        if name == chosen:
            add_flags(part)
    return parser


def main() -> int:
    """0: measured; 1: outputs that must agree differ; 2: the command was wrong."""
    arguments = _parser(next(iter(sys.argv[1:]), None)).parse_args()
    fields = {field.name for field in dataclasses.fields(arguments.options)}
    chosen = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in vars(arguments).items()
        if name in fields
    }
    try:
        report = arguments.run(arguments.options(**chosen), say=_say)
    except OutputsDiffer as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(report.text())
    for path in save(report, arguments.out):
        print(path)
    return 0


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
