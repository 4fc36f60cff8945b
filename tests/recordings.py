"""Long recordings for tests: short ones whose packets are written many times, at later times."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from tests.videos import picture


def lengthened(
    source: Path,
    target: Path,
    *,
    times: int,
    offset_s: float = 0.0,
    container_options: dict[str, str] | None = None,
) -> Path:
    """The packets of ``source``, first a keyframe, ``times`` times one after another.

    ``offset_s``: how much later than in ``source`` the first begins.
    """
    with av.open(str(source)) as reader:
        stream = reader.streams.video[0]
        packets = [p for p in reader.demux(stream) if p.size and p.pts is not None]
        assert stream.time_base is not None
        span = max(p.pts for p in packets) - min(p.pts for p in packets) + packets[-1].duration
        offset = round(offset_s / stream.time_base)
        with av.open(str(target), "w", container_options=container_options) as writer:
            copy = writer.add_stream_from_template(stream)
            for number in range(times):
                for packet in packets:
                    later = av.Packet(bytes(packet))
                    later.pts = packet.pts + number * span + offset
                    later.dts = packet.dts + number * span + offset
                    later.duration = packet.duration
                    later.is_keyframe = packet.is_keyframe
                    later.time_base, later.stream = stream.time_base, copy
                    writer.mux(later)
    return target


def write_irregular(path: Path, *, frames: int = 500) -> Path:
    """H.264 with B-frames whose frames come at irregular times, with sound between them."""
    rng = np.random.default_rng(5)
    gaps = rng.choice([17, 33, 50, 120, 900], p=[0.3, 0.4, 0.2, 0.09, 0.01], size=frames)
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=30, options={"g": "45", "bf": "3"})
        video.width, video.height, video.pix_fmt = 128, 96, "yuv420p"
        video.codec_context.thread_count = 1
        video.codec_context.time_base = Fraction(1, 1000)
        sound = container.add_stream("aac", rate=16000, layout="mono")
        heard = 0
        for index, shown in enumerate(np.cumsum(gaps) - gaps[0]):
            frame = av.VideoFrame.from_ndarray(picture(index), format="rgb24")
            frame.pts, frame.time_base = int(shown), Fraction(1, 1000)
            container.mux(video.encode(frame))
            while heard / 16 < shown:
                wave = np.sin(np.arange(1024) / 20).astype(np.float32)[None]
                piece = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
                piece.sample_rate, piece.pts, piece.time_base = 16000, heard, Fraction(1, 16000)
                container.mux(sound.encode(piece))
                heard += 1024
        container.mux(video.encode(None))
        container.mux(sound.encode(None))
    return path
