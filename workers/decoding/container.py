"""Opens a video file with PyAV; says why if it cannot be opened or decoded."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import av
import av.error
import av.logging
from av.codec.hwaccel import HWAccel
from av.container import InputContainer
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from workers.decoding import codecs, fragments, sniffing
from workers.decoding.types import DECODE_MODES, DecodeLimits
from workers.failures import ErrorType, UnitFailure
from workers.io.content import Source

av.logging.set_level(None)
codecs.check_ffmpeg()  # here: a decoder process with an older FFmpeg does not start

# Containers of video. What is missing here on purpose: playlists and scripts, which make the
# library open other files, and pictures and picture sequences.
FORMATS = ",".join(
    (
        "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,flv,live_flv,kux,asf,ogg,mxf,gxf",
        "nut,ivf,rm,ivr,wtv,nsv,nuv,pva,ty,lxf,swf,dhav,hxvs,ifv,mxg,lmlm4,iv8,cine,smjpeg,mpjpeg",
        "dv,h261,h263,h264,hevc,vvc,evc,m4v,mpegvideo,vc1,vc1test,obu,av1,apv,avs2,avs3,cavsvideo",
        "dirac,dnxhd,mjpeg,yuv4mpegpipe,film_cpk,filmstrip,roq",
    )
)
_HEAD_BYTES = 4096
_JPEG_BYTES = 1 << 22
_SEARCHED_BYTES = 1 << 20
_ENCRYPTED_BOX = b"encv"  # the sample entry of encrypted video, ISO/IEC 23001-7
_ATTACHED_PICTURE = 0x400  # libavformat's AV_DISPOSITION_ATTACHED_PIC


# A decoder holds up to 16 reference pictures, those it holds back to put them in order, and the one
# it decodes; converting and turning one takes RGB copies of it.
_PICTURES = 20
_RGB_COPIES = 3
_MOST_PIXEL_BYTES = 8  # four components of 16 bits

_UNFILTERED = {"exact": "default", "fast": "all"}  # FFmpeg's option skip_loop_filter


@contextmanager
def opened_video(
    source: Source,
    limits: DecodeLimits,
    *,
    sparse: bool = False,
    mode: str = DECODE_MODES[0],
    hwaccel: HWAccel | None = None,
) -> Iterator[tuple[InputContainer, VideoStream]]:
    """The container and its best video stream, decoding on one thread; raises UnitFailure.

    No decoder opens but those of the codecs that ``limits`` allow, also not to read a header.
    ``sparse``: only a part will be read; the fragments of a fragmented MP4 are then found by the
    index at its end, if that is reliable, and not by reading the whole file. ``mode``: one of
    DECODE_MODES; "fast" leaves out the loop filter.
    ``hwaccel``: the device that decodes; None for the processor.
    """
    head = source.head(_HEAD_BYTES)
    other, certain = sniffing.other_format(head), None
    if other == sniffing.JPEG and sniffing.is_jpeg_stream(source.head(_JPEG_BYTES)):
        other, certain = None, "mjpeg"  # the library itself may take it for one picture
    if other is not None:
        raise UnitFailure(ErrorType.not_video, f"the file is {other}, not a video")
    decoders = codecs.decoder_names(limits.allow_codecs)
    options = {
        "format_whitelist": FORMATS,
        "protocol_whitelist": "none",
        "codec_whitelist": decoders,
    }
    if sparse and fragments.indexed_by_display(source):
        options["use_mfra_for"] = "pts"
    try:
        container = av.open(
            source.opened(),
            format=certain,
            container_options=options,
            metadata_errors="replace",
            hwaccel=hwaccel,
        )
    except MemoryError:
        raise
    except (av.error.FFmpegError, ValueError) as error:
        raise _unopened(head, error) from None
    with container:
        stream = _video_stream(container)
        context = stream.codec_context
        _check_codec(context.codec.canonical_name, limits.allow_codecs)
        check_pixels(context.width, context.height, limits.max_pixels)
        context.thread_count = 1
        context.options = {  # for what comes later in the stream
            "max_pixels": str(limits.max_pixels),
            "codec_whitelist": decoders,
            "skip_loop_filter": _UNFILTERED[mode],
        }
        yield container, stream


def decoding_bytes(context: VideoCodecContext) -> int:
    """The most memory that decoding pictures of this size and format may take."""
    pixels, form = context.width * context.height, context.format
    picture = pixels * _MOST_PIXEL_BYTES
    if form is not None:
        parts = (part.width * part.height * -(-part.bits // 8) for part in form.components)
        picture = sum(parts)
    return _PICTURES * picture + _RGB_COPIES * 3 * pixels


def nothing_decoded(source: Source, stream: VideoStream, *, packets: int) -> UnitFailure:
    """The failure of a video of which no frame could be decoded."""
    codec = stream.codec_context.name
    if _is_encrypted(source):
        return UnitFailure(ErrorType.unsupported_codec, f"the video is encrypted ({codec}, CENC)")
    if not packets:
        return UnitFailure(
            ErrorType.corrupt, f"the header announces {codec} video, but the file holds no frame"
        )
    return UnitFailure(ErrorType.corrupt, f"none of the {packets} {codec} packets could be decoded")


def _video_stream(container: InputContainer) -> VideoStream:
    stream: Any = container.streams.best("video")
    if stream is None or int(stream.disposition) & _ATTACHED_PICTURE:
        if any(s.type == "video" for s in container.streams) and stream is None:
            raise UnitFailure(
                ErrorType.unsupported_codec, "no decoder for the video stream of this file"
            )
        raise UnitFailure(ErrorType.no_video_stream, _contents(container))
    if stream.codec_context is None:
        raise UnitFailure(
            ErrorType.unsupported_codec, "no decoder for the video stream of this file"
        )
    video: VideoStream = stream
    return video


def _contents(container: InputContainer) -> str:
    kinds = sorted({"a cover picture" if s.type == "video" else s.type for s in container.streams})
    return f"no video stream; the file holds {', '.join(kinds) if kinds else 'no stream at all'}"


def _check_codec(name: str, allowed: Sequence[str]) -> None:
    if name not in codecs.USUAL_CODECS and name not in allowed:
        raise UnitFailure(
            ErrorType.unsupported_codec,
            f"the video's codec is {name}, which is not on the list of codecs that are decoded; "
            f"--allow-codec {name} adds it, for files from a source that you trust",
        )


def check_pixels(width: int, height: int, max_pixels: int) -> None:
    """Raises UnitFailure for a frame with more pixels than the limit."""
    if width * height > max_pixels:
        raise UnitFailure(
            ErrorType.too_large,
            f"a frame of {width} x {height} has {width * height:,} pixels; "
            f"the limit is {max_pixels:,}",
        )


def _unopened(head: bytes, error: Exception) -> UnitFailure:
    name = sniffing.video_format(head)
    if name == "MP4":
        return UnitFailure(
            ErrorType.corrupt,
            "an MP4 file whose index (moov) is missing or damaged; was it written or copied fully?",
        )
    if name is not None:
        return UnitFailure(
            ErrorType.corrupt, f"the header of this {name} file is damaged or incomplete"
        )
    reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else ""
    if isinstance(error, PermissionError):
        return UnitFailure(ErrorType.forbidden, "no permission to read the file")
    if isinstance(error, OSError) and reason:
        return UnitFailure(ErrorType.unavailable, f"the file could not be read: {reason}")
    return UnitFailure(ErrorType.not_video, "the file has no known video format")


def _is_encrypted(source: Source) -> bool:
    for place in (0, max(source.size - _SEARCHED_BYTES, 0)):
        if _ENCRYPTED_BOX in source.read_at(place, _SEARCHED_BYTES):
            return True
    return False
