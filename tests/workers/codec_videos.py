"""Test videos in every codec and container that FFmpeg can write here, and some made by hand."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from functools import cache
from pathlib import Path

import av
import av.format
from av.codec import Codec, codecs_available

from tests import videos

RATE = 25
FRAMES = 60
_SIZE = 64, 48
_SIZES = {"h261": (176, 144), "h263": (176, 144), "dvvideo": (720, 576)}  # that the format fixes

_DEVICES = ("_nvenc", "_qsv", "_amf", "_v4l2m2m", "_vaapi")
_NO_ENCODERS = {"a64multi", "a64multi5", "vnull", "wrapped_avframe"}  # what they write is no video
# Nothing that is one file with pictures in it: hashes, playlists, single pictures, devices.
_NO_FILES = {
    *("null", "hash", "md5", "crc", "framecrc", "framehash", "framemd5", "streamhash", "tee"),
    *("segment", "stream_segment,ssegment", "hls", "dash", "smoothstreaming", "hds", "fifo"),
    *("rtp", "rtp_mpegts", "rtsp", "sap", "whip", "fbdev", "oss", "alsa", "video4linux2,v4l2"),
    *("image2", "image2pipe", "webp", "avif", "gif", "apng", "fits", "ico", "data", "ffmetadata"),
    *("webm_chunk", "webm_dash_manifest", "uncodedframecrc", "mkvtimestamp_v2", "rawvideo"),
    # FFmpeg does not know again what it wrote here, or takes it for something else.
    *("asf_stream", "avm2"),
}
_BETTER_FIRST = ("yuv420p", "yuvj420p", "yuv422p", "yuv444p", "rgb24", "bgr24", "gbrp", "gray")

# Structures of groups of pictures beyond each encoder's default.
OPTIONS: dict[str, list[dict[str, str]]] = {
    "mpeg1video": [{}, {"bf": "2"}],
    "mpeg2video": [
        {},
        {"bf": "2"},
        {"bf": "2", "flags": "+cgop", "sc_threshold": "1000000000"},
        {"bf": "2", "flags": "+ildct+ilme"},
    ],
    "mpeg4": [{}, {"bf": "2"}, {"bf": "2", "flags": "+cgop"}, {"bf": "1", "flags": "+ilme+ildct"}],
    "libx264": [
        {"bf": "0"},
        {"bf": "3"},
        {"x264-params": "open-gop=1:keyint=12:bframes=3"},
        {"x264-params": "intra-refresh=1:keyint=12"},
        {"x264-params": "interlaced=1:keyint=12"},
        {"x264-params": "bframes=5:b-pyramid=normal:keyint=24:ref=4"},
    ],
    "libx265": [
        {"x265-params": "log-level=none:keyint=12"},
        {"x265-params": "log-level=none:keyint=12:no-open-gop=1"},
        {"x265-params": "log-level=none:keyint=12:intra-refresh=1"},
    ],
    "libvpx": [{}, {"auto-alt-ref": "1", "lag-in-frames": "10"}],
    "libvpx-vp9": [{"auto-alt-ref": "1", "lag-in-frames": "10", "cpu-used": "8"}],
    "libsvtav1": [{"preset": "12", "svtav1-params": "log-level=0"}],
    "ffv1": [{"g": "1"}, {}],
}


@contextmanager
def ordinary_scheduling() -> Iterator[None]:
    """Keeps this thread an ordinary one: opened by root, libsvtav1 makes it a real-time thread, and
    with it every process that it starts from then on.
    """
    early_exit, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        os.sched_setscheduler(0, early_exit, parameters)


@cache
def encoders() -> tuple[str, ...]:
    """The video encoders here that need no device and take frames of a small size."""
    found = []
    for name in sorted(codecs_available):
        try:
            codec = Codec(name, "w")
        except av.codec.codec.UnknownCodecError:
            continue
        if codec.type != "video" or name in _NO_ENCODERS or name.endswith(_DEVICES):
            continue
        if codec.name == name and _encodes(name):
            found.append(name)
    return tuple(found)


def decodable() -> tuple[str, ...]:
    """The codecs that the encoders here write."""
    return tuple(sorted({Codec(name, "w").canonical_name for name in encoders()}))


def muxers() -> list[str]:
    """The containers that can be written here."""
    names = (name for name in sorted(av.format.formats_available) if name not in _NO_FILES)
    return [name for name in names if _is_written(name)]


def write(path: Path, muxer: str, encoder: str, options: dict[str, str]) -> int:
    """Write a video, and say how many frames; raises what PyAV does where the two do not match."""
    width, height = _SIZES.get(encoder, _SIZE)
    frames = FRAMES if height < 500 else 8
    with ordinary_scheduling(), av.open(str(path), "w", format=muxer) as container:
        stream = container.add_stream(
            encoder, rate=RATE, options={"g": "12", "strict": "-2", **options}
        )
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height = width, height
        stream.pix_fmt = pixel_format(encoder)
        stream.codec_context.thread_count = 1
        for index in range(frames):
            picture = videos.picture(index, height, width)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return frames


def pixel_format(encoder: str) -> str:
    """One that the encoder takes and that pictures can be converted to."""
    offered = [format.name for format in Codec(encoder, "w").video_formats or []] or ["yuv420p"]
    return next((name for name in _BETTER_FIRST if name in offered), offered[0])


def _is_written(name: str) -> bool:
    try:
        return av.format.ContainerFormat(name, "w").is_output
    except ValueError:
        return False


def _encodes(name: str) -> bool:
    context = av.CodecContext.create(name, "w")
    assert isinstance(context, av.VideoCodecContext)
    context.width, context.height = _SIZES.get(name, _SIZE)
    context.time_base, context.framerate = Fraction(1, RATE), Fraction(RATE)
    context.thread_count = 1
    context.options = {"strict": "-2", "svtav1-params": "", "x265-params": "log-level=none"}
    try:
        context.pix_fmt = pixel_format(name)
        frame = av.VideoFrame(context.width, context.height, context.pix_fmt)
        frame.pts = 0
        with ordinary_scheduling():
            return len(context.encode(frame) + context.encode(None)) > 0
    except (av.error.FFmpegError, ValueError):
        return False


def packed(source: Path, target: Path) -> Path:
    """A copy of MPEG-4 with B-frames as DivX and Xvid pack them into AVI.

    A picture and the first B-picture behind it share a packet; after the last one stands a picture
    that is not coded, so that every frame has its packet.
    """
    with av.open(str(source)) as reader, av.open(str(target), "w") as writer:
        stream = reader.streams.video[0]
        copy = writer.add_stream_from_template(stream)
        copy.codec_context.extradata = _called_packed(stream.codec_context.extradata or b"")
        data = [_called_packed(bytes(packet)) for packet in reader.demux(stream) if packet.size]
        joined: list[bytes] = []
        for place, picture in enumerate(data):
            before = data[place - 1] if place else picture
            if _kind(picture) == _BIDIRECTIONAL and _kind(before) != _BIDIRECTIONAL:
                joined[-1] += picture
            else:
                if _kind(picture) != _BIDIRECTIONAL == _kind(before):
                    joined.append(_NOT_CODED)
                joined.append(picture)
        if _kind(data[-1]) == _BIDIRECTIONAL:
            joined.append(_NOT_CODED)
        for number, payload in enumerate(joined):
            packet = av.Packet(payload)
            packet.pts = packet.dts = number
            packet.time_base, packet.stream = Fraction(1, RATE), copy
            packet.is_keyframe = _kind(payload) == 0
            writer.mux(packet)
    return target


_BIDIRECTIONAL = 2
_NOT_CODED = b"\0\0\1\xb6\x50\x4f"


def _called_packed(data: bytes) -> bytes:
    """With the name of an encoder that packs in place of the one that the user data holds."""
    return re.sub(rb"(?<=\x00\x00\x01\xb2)[^\x00]+", b"DivX503b1393p", data)


def _kind(picture: bytes) -> int:
    """The coding type of the first MPEG-4 picture in a packet."""
    return picture[picture.index(b"\0\0\1\xb6") + 4] >> 6


def without_sync_samples(source: Path, target: Path) -> Path:
    """A copy of an MP4 whose table of keyframes is gone, so that every packet counts as one."""
    data = source.read_bytes()
    assert data.count(b"stss") == 1
    target.write_bytes(data.replace(b"stss", b"free"))
    return target


def begun_later(source: Path, target: Path, *, keyframe: int) -> Path:
    """A copy from the given keyframe on, with the frames that are shown before it."""
    with av.open(str(source)) as reader, av.open(str(target), "w") as writer:
        stream = reader.streams.video[0]
        copy = writer.add_stream_from_template(stream)
        packets = [packet for packet in reader.demux(stream) if packet.size]
        first = [n for n, packet in enumerate(packets) if packet.is_keyframe][keyframe]
        for packet in packets[first:]:
            packet.stream = copy
            writer.mux(packet)
    return target


def timed_in_decoding_order(source: Path, target: Path) -> Path:
    """A copy whose presentation times are those at which packets are decoded."""
    with av.open(str(source)) as reader, av.open(str(target), "w") as writer:
        stream = reader.streams.video[0]
        copy = writer.add_stream_from_template(stream)
        packets = [packet for packet in reader.demux(stream) if packet.size]
        first = min(packet.dts or 0 for packet in packets)
        for packet in packets:
            packet.dts = (packet.dts or 0) - first
            packet.pts, packet.stream = packet.dts, copy
            writer.mux(packet)
    return target


def ending_at(source: Path, target: Path, *, seconds: int) -> Path:
    """A copy whose last frame bears a time far behind the others."""
    with av.open(str(source)) as reader, av.open(str(target), "w") as writer:
        stream = reader.streams.video[0]
        copy = writer.add_stream_from_template(stream)
        assert stream.time_base is not None
        packets = [packet for packet in reader.demux(stream) if packet.size]
        packets[-1].pts = packets[-1].dts = int(seconds / stream.time_base)
        for packet in packets:
            packet.stream = copy
            writer.mux(packet)
    return target
