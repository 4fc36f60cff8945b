#!/usr/bin/env python3
"""Label a run anew from the embeddings that it stores, without decoding and without a GPU."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.command_line import run_job
from pipeline.exit_codes import leave
from pipeline.relabel.options import RelabelOptions

_EPILOG = """\
Examples:
  python jobs/relabel.py OUTPUT NEW_OUTPUT --head head.safetensors
  python jobs/relabel.py OUTPUT NEW_OUTPUT --head head.safetensors --shadow-share 1%
  python jobs/relabel.py OUTPUT NEW_OUTPUT --checkpoint other-head-same-backbone.safetensors

Exit codes: 0, every video has a row; 1, the tables of OUTPUT cannot be read, or NEW_OUTPUT cannot
be written (run the same command again to resume); 2, the command was wrong, or OUTPUT stores no
embeddings that the head fits."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    return run_job(RelabelOptions, _relabel, argv, about=__doc__, epilog=_EPILOG, reads_runs=True)


def _relabel(options: RelabelOptions) -> None:
    from pipeline.relabel.command import run_relabel

    run_relabel(options)


if __name__ == "__main__":
    leave(main())
