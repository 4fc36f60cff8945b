"""The same videos as files, as a list, as tars and as Parquet: the same rows, and the time of each.

    python -m tests.scale.input_kinds --videos 200 --rounds 3

Labels the demo's test videos in every form, in turn. Labels, scores, FLOPs and kept-token maps of
all forms must be equal to the bit; then it prints the wall time of each form against that of files.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from pipeline.inputs.demo.archive import ArchiveSettings, make_archive
from tests.input_forms import FORMS, view_rows

_JOB = Path(__file__).parents[2] / "jobs" / "label_k400.py"


def main() -> None:
    """Labels every form in turn, compares the rows, and prints the times."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--videos", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--views", default="5x3")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        archive = work / "archive"
        make_archive(archive, ArchiveSettings(videos=arguments.videos))
        inputs = {kind: make(archive, work / kind) for kind, make in FORMS.items()}
        seconds: dict[str, list[float]] = {kind: [] for kind in inputs}
        reference = None
        for number in range(arguments.rounds):
            for kind, source in inputs.items():
                output = work / "output" / f"{kind}-{number}"
                seconds[kind].append(_labeled(source, output, arguments.views))
                rows = view_rows(output)
                reference = reference or rows
                if rows != reference:
                    different = [key for key in reference if rows.get(key) != reference[key]]
                    sys.exit(f"{kind}: {len(different)} of {len(reference)} views differ")
        assert reference is not None
        print(f"{len(reference):,} views of {arguments.videos} videos, the same to the bit")
        for kind, taken in seconds.items():
            ratios = [a / b for a, b in zip(taken, seconds["files"], strict=True)]
            print(
                f"{kind:10} {statistics.median(taken):6.1f} s, "
                f"{statistics.median(ratios):.2f} of files"
            )


def _labeled(source: Path, output: Path, views: str) -> float:
    """Seconds of one whole job."""
    command = [sys.executable, str(_JOB), str(source), str(output), "--checkpoint", "demo"]
    begun = time.monotonic()
    done = subprocess.run([*command, "--views", views], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr}")
    return time.monotonic() - begun


if __name__ == "__main__":
    main()
