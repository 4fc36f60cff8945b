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
from pipeline.benchmark.decode import DecodeBenchmark, run_decode
from pipeline.benchmark.labeller import LabellerBenchmark, run_labeller
from pipeline.benchmark.model import DEVICES, DTYPES, ModelBenchmark, run_model
from pipeline.benchmark.paired import OutputsDiffer
from pipeline.benchmark.report import Report
from pipeline.benchmark.variants import MODES
from pipeline.benchmark.whole import PipelineBenchmark, run_pipeline
from workers.sampling import parse_views

_ARCHITECTURES = {"nargs": "+", "choices": sorted(sta.ARCHITECTURES), "dest": "architectures"}


class _Part:
    """One part's flags, each named after the field of its options that it sets."""

    def __init__(
        self,
        parts: argparse._SubParsersAction[argparse.ArgumentParser],
        name: str,
        about: str,
        options: type[Any],
        run: Callable[..., Report],
    ) -> None:
        formatter = argparse.ArgumentDefaultsHelpFormatter
        self._parser = parts.add_parser(name, help=about, formatter_class=formatter)
        self._defaults = {field.name: field.default for field in dataclasses.fields(options)}
        self._parser.set_defaults(options=options, run=run)
        self._parser.add_argument(
            "--out", type=Path, default=Path("benchmark"), help="folder of the results"
        )
        self.flag("rounds", "how often each variant is timed", type=int)

    def flag(self, name: str, about: str, **settings: Any) -> None:
        """Adds --NAME with the default of its field."""
        field = settings.get("dest", name.replace("-", "_"))
        self._parser.add_argument(
            f"--{name}", help=about, default=self._defaults[field], **settings
        )


def _views(text: str) -> tuple[int, int]:
    try:
        return parse_views(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parts = parser.add_subparsers(dest="part", required=True, metavar="PART")

    about = "pruned against unpruned models, on a CPU or a GPU"
    model = _Part(parts, "model", about, ModelBenchmark, run_model)
    model.flag("arch", "models", **_ARCHITECTURES)
    model.flag("r", "dropped per frame at first; None for each model's own", nargs="+", type=int)
    model.flag("batch", "clips per forward pass", nargs="+", type=int, dest="batches")
    modes = "; ".join(f"{mode}: {what}" for mode, what in MODES.items())
    model.flag("mode", modes, nargs="+", choices=list(MODES), dest="modes")
    groupings = ["released", "paper"]
    model.flag("pruning", "grouping of STA's stages", choices=groupings, dest="grouping")
    model.flag("device", "None for a GPU where there is one", choices=DEVICES)
    model.flag("dtype", "None for bfloat16 on a GPU", choices=list(DTYPES))
    model.flag("threads", "CPU threads; None for torch's own choice", type=int)

    about = "decoding against ffmpeg's and PyAV's plain decoding"
    decode = _Part(parts, "decode", about, DecodeBenchmark, run_decode)
    decode.flag("videos", "files to measure on besides made clips", nargs="*", type=Path)
    decode.flag("seconds", "length of the made clips", type=float)
    decode.flag("long-seconds", "length of the made recording", type=float)

    about = "what the labeller keeps of its model's throughput"
    labeller = _Part(parts, "labeller", about, LabellerBenchmark, run_labeller)
    labeller.flag("arch", "models", **_ARCHITECTURES)
    labeller.flag("r", "None for each model's own", type=int)
    labeller.flag("batch", "views per forward pass; None for the device's own", type=int)
    labeller.flag("units", "videos per round", type=int)
    switch = argparse.BooleanOptionalAction
    labeller.flag("compile", "None for a GPU where shapes are static", action=switch)
    labeller.flag("threads", "CPU threads; None for torch's own choice", type=int)

    about = "labelling through Ray against a plain loop of the same work"
    whole = _Part(parts, "pipeline", about, PipelineBenchmark, run_pipeline)
    whole.flag("source", "directory or manifest of videos; None for made ones")
    whole.flag("videos", "how many of them", type=int)
    whole.flag("passes", "how often each is labelled in a round", type=int)
    whole.flag("checkpoint", "as in the labelling jobs")
    whole.flag("r", "None for the model's own", type=int)
    whole.flag("views", "None for the protocol's own", metavar="CxS", type=_views)
    return parser


def main() -> int:
    """0: measured; 1: outputs that must agree differ; 2: the command was wrong."""
    arguments = _parser().parse_args()
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
    for path in report.save(arguments.out):
        print(path)
    return 0


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
