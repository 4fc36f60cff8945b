"""What the sandbox costs: decoding with it and without it in turn, on videos of its own.

    python -m tests.attacks.sandbox_cost --rounds 9

Each round decodes the same videos in a child with all restrictions and in one with none. It checks
that both give the same frames, and prints the ratio of the CPU seconds, the memory that only the
child uses, and the time that it takes to start.
"""

import argparse
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from tests import videos
from tests.processes import private_bytes
from workers.decoding import DecodedUnit, SandboxedDecoder, Unit, process
from workers.sampling import protocol

PROTOCOL = protocol("videomae-k400")
MODULES = {"with": "workers.decoding.child", "without": "tests.attacks.free_child"}
VIDEOS, TURNS = 4, 5


@dataclass(frozen=True)
class Cost:
    """Of one child: seconds of CPU to decode, seconds to start, bytes that it alone uses."""

    cpu_s: float
    start_s: float
    idle_bytes: int
    bytes_after: int


def measured(module: str, paths: list[Path]) -> tuple[Cost, list[np.ndarray]]:
    """The cost of a child that runs ``module``, and the frames of each video."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(process, "_MODULE", module)
        began = time.perf_counter()
        with SandboxedDecoder(PROTOCOL) as decoder:
            start_s = time.perf_counter() - began
            assert decoder.child_pid is not None
            idle, frames, cpu_ms = private_bytes(decoder.child_pid), [], 0.0
            for path in paths * TURNS:
                result = decoder.decode(Unit("u", "v", str(path)))
                assert isinstance(result, DecodedUnit), result
                cpu_ms += result.decode_ms
                frames.append(result.frames)
            after = private_bytes(decoder.child_pid)
    return Cost(cpu_ms / 1e3, start_s, idle, after), frames[:VIDEOS]


def main() -> None:
    """Prints the figures of README.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9, metavar="N")
    rounds = parser.parse_args().rounds
    costs: dict[str, list[Cost]] = {name: [] for name in MODULES}
    with tempfile.TemporaryDirectory() as folder:
        paths = [
            videos.write_video(
                Path(folder) / f"{number}.mp4", frames=250, height=256, width=340,
                options={"g": "60", "bf": "2"},
            )
            for number in range(VIDEOS)
        ]  # fmt: skip
        for _ in range(rounds):
            frames = {}
            for name, module in MODULES.items():
                cost, frames[name] = measured(module, paths)
                costs[name].append(cost)
            for one, other in zip(*frames.values(), strict=True):
                assert np.array_equal(one, other)
    ratios = [a.cpu_s / b.cpu_s for a, b in zip(*costs.values(), strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4)
    print(f"CPU seconds, with / without: {middle:.3f} (quartiles {low:.3f} to {high:.3f})")
    for name, many in costs.items():
        print(
            f"{name}: {min(c.idle_bytes for c in many) >> 20} MiB idle, "
            f"{max(c.bytes_after for c in many) >> 20} MiB after {VIDEOS * TURNS} videos, "
            f"{statistics.median(c.start_s for c in many):.2f} s to start"
        )


if __name__ == "__main__":
    main()
