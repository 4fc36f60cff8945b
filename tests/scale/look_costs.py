"""Decode core-seconds of each look of early exit, against those of a whole decode.

    python -m tests.scale.look_costs --videos 4 --rounds 3 --needed 0.80,0.12,0.08

renders scenes of the demo at 1920 x 1080, each with a keyframe every 60 and every 250 frames, and
decodes them whole and look by look in the project's decoder, in turn. ``--needed``: shares of the
videos that need the first look alone, the second too, and all; the early-exit file's report and
`decoded_clips` in units/ tell them for an archive. Core time is that of the child and the parent.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import av
import cv2

from pipeline.inputs.demo.scenes import Scene, draw_scene, render
from pipeline.lab.benchmark.paired import Spread, in_turn, ratio
from workers.decoding import DecodedUnit, SandboxedDecoder, Unit
from workers.sampling import protocol

PROTOCOL = protocol("videomae-k400")
GOPS = (60, 250)
_BAR = 240  # columns at either side of a scene of 1440 x 1080


def main() -> None:
    """Measures and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--videos", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--needed", default="0.80,0.12,0.08")
    asked = parser.parse_args()
    shares = [float(share) for share in asked.needed.split(",")]
    looks = {"whole": None} | {f"look {n}": clips for n, clips in enumerate(PROTOCOL.looks(), 1)}
    with tempfile.TemporaryDirectory() as folder, SandboxedDecoder(PROTOCOL) as decoder:
        for gop in GOPS:
            rows: dict[str, list[float]] = {name: [] for name in looks}
            for number in range(asked.videos):
                path = Path(folder) / f"{gop}-{number}.mp4"
                write(path, draw_scene(seed=2, split="test", index=7 * number), gop)
                costs = in_turn(
                    {
                        name: lambda clips=clips, path=path: core_s(decoder, path, clips)
                        for name, clips in looks.items()
                    },
                    rounds=asked.rounds,
                )
                for name, seconds in costs.items():
                    rows[name] += seconds
            expected = [
                sum(sum(shares[at:]) * rows[f"look {at + 1}"][n] for at in range(len(shares)))
                for n in range(len(rows["whole"]))
            ]
            print(f"GOP {gop}: whole {statistics.median(rows['whole']):.3f} core-seconds a video")
            for name in list(looks)[1:]:
                print(f"  {name} {looks[name]}: {ratio(rows[name], rows['whole']):.3f} of that")
            print(f"  with {asked.needed} of the videos: {ratio(expected, rows['whole']):.3f}")
            print(f"  core-seconds a video: {Spread.of(expected):.3f}")


def core_s(decoder: SandboxedDecoder, path: Path, clips: tuple[int, ...] | None) -> float:
    """Core seconds of decoding these clips, None for all."""
    before = time.process_time()
    decoded = decoder.decode(Unit(path.name, path.name, str(path), clips=clips))
    assert isinstance(decoded, DecodedUnit)
    assert decoded.clips == clips
    return time.process_time() - before + decoded.decode_ms / 1000


def write(path: Path, scene: Scene, gop: int) -> None:
    """A scene as H.264 of 1920 x 1080 pixels, by x264's default settings but for the keyframes."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=scene.fps)
        stream.width, stream.height, stream.pix_fmt = 1440 + 2 * _BAR, 1080, "yuv420p"
        stream.options = {"g": str(gop)}
        for picture in render(scene):
            large = cv2.resize(picture, (1440, 1080), interpolation=cv2.INTER_CUBIC)
            wide = cv2.copyMakeBorder(large, 0, 0, _BAR, _BAR, cv2.BORDER_REFLECT_101)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(wide, format="rgb24")))
        container.mux(stream.encode())


if __name__ == "__main__":
    main()
