#!/usr/bin/env python3
"""Convert a checkpoint to a safetensors file with its class names and origin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.command_line import run_job
from pipeline.exit_codes import leave
from pipeline.flags import argument, flag
from pipeline.messages import tell
from sta.checkpoints.digests import parse_sha256

_ABOUT = f"{__doc__}\n\nThe model is recognized by its parameters, not by the file's name."
_EPILOG = "Exit codes: 0, the file is written; 2, the file is not written (the message says why)."


@dataclass(frozen=True)
class ConvertOptions:
    """What the flags set."""

    source: str = argument(
        "a VideoMAE, V-JEPA 2, ViViT or VideoSwin checkpoint: a file, a Hugging Face directory or "
        "hub id (owner/name[@revision]), s3://bucket/key or an https:// address",
        metavar="SOURCE",
    )
    dest: Path = argument("file to write; must not exist", metavar="DEST")
    checkpoint_sha256: str | None = flag(
        "expected SHA-256 of the source's weights; others are refused before they are parsed",
        None,
        type=parse_sha256,
        metavar="HEX",
    )
    labels: Path | None = flag(
        "class names, one per line, CSV, TSV or JSON; replaces the checkpoint's own",
        None,
        metavar="F",
    )
    label_map: Path | None = flag(
        "file that maps the classes to other labels, one to one; classes without one are dropped",
        None,
        metavar="F",
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    return run_job(ConvertOptions, _convert, argv, about=_ABOUT, epilog=_EPILOG)


def _convert(options: ConvertOptions) -> None:
    from pipeline.lab.convert_checkpoint import convert_checkpoint

    converted = convert_checkpoint(
        options.source,
        options.dest,
        labels=options.labels,
        label_map=options.label_map,
        sha256=options.checkpoint_sha256,
    )
    tell(converted.line())


if __name__ == "__main__":
    leave(main())
