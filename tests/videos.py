"""Test videos, made with PyAV: small, each frame recognizably its own."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]


def picture(index: int, height: int = 96, width: int = 128) -> Pixels:
    """Frame ``index`` of every test video: uint8 (height, width, 3), a texture that moves."""
    y, x = np.mgrid[0:height, 0:width]
    red = (x * 2 + index * 5) % 256
    green = (y * 2 + index * 3) % 256
    blue = 127 + 120 * np.sin((x + y + index * 4) / 9)
    return np.stack([red, green, blue], axis=-1).astype(np.uint8)


def write_video(
    path: Path,
    *,
    frames: int = 60,
    height: int = 96,
    width: int = 128,
    rate: int = 30,
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    options: dict[str, str] | None = None,
    rotation: int | None = None,
    container_options: dict[str, str] | None = None,
) -> Path:
    """Encode ``frames`` pictures; the container follows from the name of ``path``."""
    with av.open(str(path), "w", container_options=container_options) as container:
        stream = container.add_stream(codec, rate=rate, options=options or {})
        stream.height, stream.width, stream.pix_fmt = height, width, pixel_format
        stream.codec_context.thread_count = 1
        if rotation is not None:
            stream.set_display_rotation(rotation)
        for index in range(frames):
            frame = av.VideoFrame.from_ndarray(picture(index, height, width), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def write_sound(path: Path, *, seconds: float = 1.0) -> Path:
    """A file with sound and no picture."""
    rate = 16000
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=rate, layout="mono")
        wave = np.sin(np.arange(int(rate * seconds)) / 20).astype(np.float32)[None]
        frame = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def cut_copy(source: Path, target: Path, *, skip: int) -> Path:
    """Copy the packets so that the first ``skip`` frames lie before time 0: an edit list in mp4."""
    with av.open(str(source)) as reader, av.open(str(target), "w") as writer:
        writer.container_options.update({"avoid_negative_ts": "disabled"})
        stream = reader.streams.video[0]
        copy = writer.add_stream_from_template(stream)
        assert stream.time_base is not None
        assert stream.average_rate is not None
        shift = int(skip / stream.average_rate / stream.time_base)
        for packet in reader.demux(stream):
            if packet.dts is None or packet.pts is None:
                continue
            packet.pts, packet.dts, packet.stream = packet.pts - shift, packet.dts - shift, copy
            writer.mux(packet)
    return target


def damaged(source: Path, target: Path, *, start: float, stop: float) -> Path:
    """A copy with zeros from share ``start`` to share ``stop`` of the file's bytes."""
    data = bytearray(source.read_bytes())
    first, last = int(len(data) * start), int(len(data) * stop)
    data[first:last] = bytes(last - first)
    target.write_bytes(data)
    return target


def cut_off(source: Path, target: Path, *, share: float) -> Path:
    """The first ``share`` of a file's bytes."""
    data = source.read_bytes()
    target.write_bytes(data[: int(len(data) * share)])
    return target


def sequential_frames(path: Path) -> list[Pixels]:
    """Every frame, upright RGB at full size, as a plain decode from start to end gives them."""
    result: list[Pixels] = []
    with av.open(str(path)) as container:
        stream = container.streams.best("video")
        assert isinstance(stream, av.VideoStream)
        stream.codec_context.thread_count = 1
        for packet in container.demux(stream):
            try:
                frames = packet.decode()
            except av.error.InvalidDataError:
                continue
            for frame in frames:
                rgb = frame.to_ndarray(format="rgb24")
                turns = frame.rotation // 90 % 4 if frame.rotation % 90 == 0 else 0
                result.append(np.ascontiguousarray(np.rot90(rgb, turns)))
    return result


def resize(rgb: Pixels, height: int, width: int) -> Pixels:
    """As the published evaluations resize: OpenCV, bilinear, no antialiasing."""
    if rgb.shape[:2] == (height, width):
        return rgb
    return np.asarray(cv2.resize(rgb, (width, height), interpolation=cv2.INTER_LINEAR))
