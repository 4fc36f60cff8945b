"""Whether this machine has the decoder of a run, and what its sandbox goes without."""

from __future__ import annotations

from collections.abc import Set

from pipeline.errors import UsageError
from pipeline.messages import say
from workers.decoding.restrictions import WITHOUT_FOR_GPU
from workers.decoding.types import NVDEC


def check_decoder(name: str) -> None:
    """Refuses an old FFmpeg and a decoder that is not there; tells that decord's FFmpeg is old.

    Raises:
        UsageError: PyAV's FFmpeg is too old or without NVDEC, or decord is not installed.
    """
    from workers.decoding import codecs, decord, nvdec  # load FFmpeg, which only actors need

    try:
        codecs.check_ffmpeg()
        if name == "decord":
            decord.require()
        if name == NVDEC:
            nvdec.require()
    except ImportError as error:
        raise UsageError(str(error)) from None
    if name == "decord":
        say(
            "--decoder decord: decord 0.6.0 bundles FFmpeg 4.1.6, which has had no security fixes "
            "since 2020. Only H.264, HEVC, VP8 and VP9 reach it; --decoder pyav is safer."
        )


def incomplete_sandbox(missing: Set[str], decoder: str) -> str:
    """What is said of a machine whose decoders go without these parts of the sandbox."""
    parts = " and ".join(sorted(missing))
    if decoder == NVDEC and missing >= set(WITHOUT_FOR_GPU):
        return (
            f"--decoder {NVDEC}: the decoders' sandbox goes without {parts}, since a GPU's driver "
            f"opens files and maps memory as long as it runs."
        )
    return (
        f"The decoders' sandbox is incomplete: the kernel of a machine lacks {parts}. "
        f"--require-sandbox refuses such machines."
    )
