"""The command line of the labeling jobs, which differ in their protocol alone."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.exit_codes import exit_code
from pipeline.labeling.flags import parser


def main(task: str, argv: Sequence[str] | None = None) -> int:
    """Runs a labeling job and returns its exit code.

    Args:
        task: "k400" or "ssv2".
        argv: arguments, None for those of the process.
    """

    def work() -> None:
        arguments = parser(task).parse_args(argv)
        # Imports torch and Ray, for which neither --help nor a mistake in the flags has to wait.
        from pipeline.labeling.job import run

        run(task, arguments)

    return exit_code(work)
