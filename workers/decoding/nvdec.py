"""The decoder `nvdec`: decodes on the video engines of an NVIDIA GPU, for nodes with few cores.

Frames are chosen, numbered, timed and converted to RGB as the decoder `pyav` does; only the
decoding itself runs on the GPU, by FFmpeg's NVDEC support, which PyAV's package for Linux has.
Wanted frames alone are copied to memory. Codecs and formats that the GPU has no engine for are
decoded on the processor, in the same process; AV1 always is. The GPU conceals damage without
telling of it, so `lost_frames` counts less than with `pyav`.

A process has one CUDA context, which stays for its life: to create one for each video would take
longer than to decode it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache

import av
import av.error
import numpy as np
from av.codec import Codec, CodecContext
from av.codec.hwaccel import HWAccel, hwdevices_available

from workers.decoding import colors, pyav
from workers.decoding.job import DecodeJob
from workers.decoding.result import Decoded

_DEVICE = "cuda"
_ADVICE = (
    "it needs an NVIDIA GPU with a video engine and its driver's libraries libcuda.so.1 and "
    "libnvcuvid.so.1; containers have the second one only if NVIDIA_DRIVER_CAPABILITIES names "
    "video. Use --decoder pyav without them"
)


@dataclass(frozen=True)
class _Gpu:
    """How files are opened, and the CUDA context that all of them share."""

    settings: HWAccel
    context: HWAccel


def require() -> None:
    """Raises ImportError with advice unless PyAV's FFmpeg can use NVDEC; needs no GPU."""
    if _DEVICE not in hwdevices_available():
        raise ImportError(
            f"--decoder nvdec: FFmpeg of the installed PyAV {av.__version__} is built without "
            "NVDEC; that of PyAV's own package for Linux has it: "
            "pip install --force-reinstall --only-binary av av"
        )


def begin() -> None:
    """Opens the GPU and decodes a picture on it, after which all its libraries are loaded.

    Raises ImportError, with the reason and advice, where that is not possible.
    """
    require()
    try:
        gpu = _gpu()
        on_gpu = _decodes_on(gpu.settings)
    except (av.error.FFmpegError, OSError) as error:
        words = getattr(error, "strerror", None) or str(error)
        raise ImportError(f"--decoder nvdec found no usable GPU ({words}); {_ADVICE}") from None
    if not on_gpu:
        raise ImportError(f"--decoder nvdec: the GPU decodes no H.264; {_ADVICE}")


def decode(job: DecodeJob) -> Decoded:
    """Decodes the frames that the job's protocol takes from its unit; raises UnitFailure."""
    return pyav.decode(replace(job, hwaccel=_gpu().settings))


@cache
def _gpu() -> _Gpu:
    settings = HWAccel(_DEVICE, options={"primary_ctx": "1"}, is_hw_owned=True)
    return _Gpu(settings, settings.create(Codec("h264", "r")))


def _decodes_on(settings: HWAccel) -> bool:
    """Whether a small H.264 picture is decoded on the device, and can be copied to memory."""
    decoder = CodecContext.create("h264", "r", settings)
    frames = [frame for packet in [*_packets(), None] for frame in decoder.decode(packet)]
    if not frames or frames[0].sw_format is None:
        return False
    colors.rgb(frames[0], av.video.reformatter.VideoReformatter())
    return True


def _packets() -> list[av.Packet]:
    """A gray picture of 320 x 240 pixels in H.264."""
    encoder = CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt = 320, 240, "yuv420p"
    encoder.time_base = Fraction(1, 30)
    encoder.thread_count = 1
    gray = np.full((240, 320, 3), 128, dtype=np.uint8)
    return [*encoder.encode(av.VideoFrame.from_ndarray(gray, format="rgb24")), *encoder.encode()]
