#!/usr/bin/env python3
"""Convert a checkpoint to a safetensors file with its labels and origin."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from pipeline.command_line import JobParser
from pipeline.lab.convert_checkpoint import convert_checkpoint


def _parser() -> argparse.ArgumentParser:
    parser = JobParser(
        description=f"{__doc__} What it holds is told from its parameters, not from its name.",
        epilog="Exit code: 0, the file is written; 2, it is not, and the line says why.",
    )
    parser.add_argument(
        "source",
        metavar="SOURCE",
        help="a VideoMAE or VideoSwin checkpoint: a file, a Hugging Face directory or hub id "
        "(owner/name[@revision]), s3://bucket/key or an https:// address",
    )
    parser.add_argument("dest", type=Path, metavar="DEST", help="file to write; must not exist")
    parser.add_argument(
        "--labels",
        type=Path,
        metavar="F",
        help="class names, one per line, CSV, TSV or JSON; replaces the checkpoint's own",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    arguments = _parser().parse_args(argv)
    try:
        converted = convert_checkpoint(arguments.source, arguments.dest, labels=arguments.labels)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(converted.line())
    return 0


if __name__ == "__main__":
    sys.exit(main())
