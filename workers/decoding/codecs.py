"""The codecs that may be decoded, and the oldest FFmpeg that may decode them.

FFmpeg has decoders for some 270 video codecs. Most exist for games and devices of the past, are
rarely tested, and are where security holes are found. A video of a codec that archives do not hold
becomes a failure row before a decoder opens; `--allow-codec` adds a codec.
"""

from __future__ import annotations

from collections.abc import Collection
from difflib import get_close_matches
from functools import cache

import av
from av.codec import Codec, codecs_available
from av.codec.codec import UnknownCodecError
from av.container import InputContainer

# By FFmpeg's codec names (`ffmpeg -codecs`), not those of its decoders: av1, and not libdav1d.
USUAL_CODECS = frozenset(
    (
        *("h264", "hevc", "av1", "vp8", "vp9", "mpeg1video", "mpeg2video", "mpeg4"),
        *("msmpeg4v1", "msmpeg4v2", "msmpeg4v3", "wmv1", "wmv2", "wmv3", "vc1"),
        *("h261", "h263", "h263i", "h263p", "flv1", "mjpeg", "theora"),
        *("prores", "dnxhd", "dvvideo", "ffv1", "rawvideo"),
    )
)

# Sound is not decoded. But without these, FFmpeg reads further into a file before it takes the
# format of its sound for unknown.
_SOUND = frozenset(
    (
        *("aac", "ac3", "alac", "amr_nb", "amr_wb", "eac3", "flac", "mp1", "mp2", "mp3"),
        *("opus", "vorbis", "wmav1", "wmav2", "adpcm_ms", "adpcm_ima_wav", "adpcm_ima_qt"),
        *("pcm_alaw", "pcm_mulaw", "pcm_u8", "pcm_s16be", "pcm_s16le", "pcm_s24be", "pcm_s24le"),
    )
)

# libavcodec of FFmpeg 8.0. Older releases lack checks in decoders that are on the list.
_OLDEST = (62, 11, 100)
_OLDEST_NAME = "8.0"


def check_ffmpeg() -> None:
    """Raise ImportError where PyAV's FFmpeg is older than the oldest that is accepted."""
    found = tuple(av.library_versions.get("libavcodec", (0, 0, 0)))
    if found < _OLDEST:
        raise ImportError(
            f"PyAV {av.__version__} has FFmpeg {av.ffmpeg_version_info} (libavcodec "
            f"{'.'.join(map(str, found))}); FFmpeg {_OLDEST_NAME} or later is needed, since older "
            "releases lack security fixes: pip install --upgrade av"
        )


def checked_codec(name: str) -> str:
    """The name of a codec that FFmpeg decodes, given it or the name of one of its decoders.

    Raises ValueError, with the nearest name, for any other.
    """
    known = _decoders("video")
    codec = {decoder: codec for codec, names in known.items() for decoder in names}
    codec |= {codec: codec for codec in known}
    if name in codec:
        return codec[name]
    near = get_close_matches(name.lower(), codec, n=1, cutoff=0.0)
    raise ValueError(f"FFmpeg has no video decoder {name!r}; the nearest name is {near[0]}")


def decoder_names(allowed: Collection[str]) -> str:
    """The decoders of USUAL_CODECS, of the codecs ``allowed`` and of sound, with commas between."""
    return _decoder_names(tuple(allowed))


def are_usual(container: InputContainer) -> bool:
    """Whether all streams of a file have codecs of USUAL_CODECS, usual sound, or none at all."""
    contexts = [s.codec_context for s in container.streams if s.codec_context is not None]
    return all(c.codec.canonical_name in USUAL_CODECS | _SOUND for c in contexts)


@cache
def _decoder_names(allowed: tuple[str, ...]) -> str:
    wanted = USUAL_CODECS.union(_SOUND, allowed)
    codecs = _decoders("video") | _decoders("audio")
    return ",".join(name for codec, names in codecs.items() if codec in wanted for name in names)


@cache
def _decoders(kind: str) -> dict[str, list[str]]:
    """The names of the decoders of every codec of ``kind``, "video" or "audio"."""
    found: dict[str, list[str]] = {}
    for name in sorted(codecs_available):
        try:
            codec = Codec(name, "r")
        except UnknownCodecError:
            continue
        if codec.type == kind and codec.name == name:
            found.setdefault(codec.canonical_name, []).append(name)
    return found
