"""The corpus of real and damaged videos, where there is one, and what each file must come to.

It lies beside the repository, or where STA_CORPUS says, and is no part of it; tests that read it
are skipped without it.
Every verdict was reached by looking at the file, at its line in INVENTORY.tsv and at what ffmpeg's
own command makes of it; the doubtful ones say why.
"""

from __future__ import annotations

import csv
import os
from pathlib import Path

import pytest

_BESIDE = Path(__file__).resolve().parents[1].parent / "shared" / "corpus"
CORPUS = Path(os.environ.get("STA_CORPUS", _BESIDE))
needs_corpus = pytest.mark.skipif(
    not CORPUS.is_dir(), reason="the corpus of real videos is not here"
)

# Files without frames, and the reason that their row must give.
FAILED = {
    # All of the picture data is overwritten; ffmpeg's command still shows one grey frame, which it
    # made up, and 1196 errors. A frame that was made up is nothing to label.
    "hostile/corrupt_all_mdat.mp4": "corrupt",
    # Half of the bytes, an index of 300 frames, and 133 of them come out: less than half is left.
    "hostile/cut_half_moov_first.mp4": "corrupt",
    "hostile/cut_moov_missing.mp4": "corrupt",
    # Two frames of 8192 x 8192, 201 MB each as RGB, from 25 kB: a bomb by any measure. ffmpeg shows
    # them; the limit is the largest 8K format, which no true recording exceeds.
    "hostile/dims_8192.webm": "too_large",
    # A script that names another file. A decoder that follows it lets an archive read any file.
    "hostile/ffconcat.mp4": "not_video",
    # An animated picture of 10 frames under a video's name. ffmpeg plays it, and so could this;
    # but a file that is not what its name says is better looked at by its owner.
    "hostile/gif_renamed.mp4": "not_video",
    "hostile/hls_playlist.mp4": "not_video",
    # The sample table announces impossible sizes, and ffmpeg's command cannot open it either.
    "hostile/lie_stsz_huge.mp4": "corrupt",
    # Cut at half of its bytes with 134 frames inside, of 300: without its index only the bytes tell
    # what is missing. Half is not more than half.
    "hostile/mkv_cut.mkv": "corrupt",
    "hostile/text.mp4": "not_video",
    # 210 packets, of which the first 160 refer to parameters and pictures that were cut away: 50
    # frames come out. It is a recording with its head missing, not a short one.
    "hostile/ts_headless.ts": "corrupt",
    "hostile/zero_bytes.mp4": "empty",
    # 100 kB and not one bit set: nothing in it was ever a video.
    "hostile/zeros.mp4": "not_video",
    "real/mp4parse-rust/afconvert-aac-0.5s.mp4": "no_video_stream",
    # An encrypted stream's header without its media: both "encrypted" and "no frames" are true, and
    # the first is what its owner has to know.
    "real/mp4parse-rust/bipbop_480wp_1001kbps-cenc-video-key1-init.mp4": "unsupported_codec",
    "real/mp4parse-rust/bipbop_audioinit.mp4": "no_video_stream",
    "real/mp4parse-rust/bipbop_cbcs_audio_init.mp4": "no_video_stream",
    "real/mp4parse-rust/chunk_out_of_range.mp4": "corrupt",
    "real/mp4parse-rust/invalid_userdata.mp4": "corrupt",
    "real/mp4parse-rust/opus_audioinit.mp4": "no_video_stream",
    "real/mp4parse-rust/short-cenc.mp4": "unsupported_codec",
    "real/mp4parse-rust/sine-3s-xhe-aac-44khz-mono.mp4": "no_video_stream",
    "real/mp4parse-rust/test_case_1185230.mp4": "corrupt",
    "real/small/AudioVideoInterleave.avi": "corrupt",
    "real/small/FlashVideo.flv": "corrupt",
    # A sound MPEG-4 header that announces no stream: nothing is damaged, there is just no picture.
    "real/small/Mpeg4.mp4": "no_video_stream",
    "real/small/WindowsMediaVideo.wmv": "corrupt",
}

# Damaged files that are labeled, and the fewest and most frames that they may be said to have
# lost. The first number is the frames that are missing for certain; how many of the others were
# patched up beyond use is the decoder's judgement, which another version may reach differently.
DEGRADED = {
    # 4 of 300 missing; bits were turned all over the file, so that nearly half of the rest is
    # concealment. Just above the line beyond which it would be refused.
    "hostile/corrupt_bitflips.mp4": (4, 149),
    "hostile/corrupt_mid_4k.mp4": (4, 10),
    "hostile/corrupt_mid_zero40k.mp4": (36, 45),
    # Cut at half of its bytes; its last fragment's own table promises 250 frames and 134 come. The
    # fragments behind the cut, 50 frames more, are named by nothing that is left, so that 117 of
    # 251 is all that can be known. cut_half_moov_first.mp4 has an index that tells more.
    "hostile/fragmented_cut.mp4": (116, 120),
    "real/decord/corrupted.mp4": (1, 5),
    # Its headers are nonsense throughout; ffmpeg's command gets the same 170 frames and 97 errors.
    "real/mp4parse-rust/no_timescale.mp4": (1, 84),
}

# Where ffmpeg's command counts other frames than these, for a reason.
OTHER_COUNT = {
    # Two video streams. INVENTORY.tsv counts the first; the best one is the larger one.
    "real/torchcodec/nasa_13013.mp4": 390,
}

# What decord does otherwise than the default decoder, with one thread and fault_tol=1, where the
# file is one that it is trusted with: "recovered" (its process died, and the second try, on PyAV,
# gave the right frames), or the reason that it gave up with.
DECORD = {
    "hostile/corrupt_bitflips.mp4": "corrupt",
    "hostile/lie_stts_huge.mp4": "recovered",
    "hostile/tiny_2x2.mp4": "corrupt",
    "real/moviepy/-video-with-dash-.mp4": "corrupt",
    "real/moviepy/no_duration.webm": "corrupt",
    "real/mp4parse-rust/video_colr_nclx_and_icc.mp4": "corrupt",
    "real/mp4parse-rust/video_colr_nclx_hdr10.mp4": "corrupt",
    "real/mp4parse-rust/video_colr_nclx_hdr10_full_range.mp4": "corrupt",
    "real/mp4parse-rust/video_colr_nclx_hlg_full_range.mp4": "corrupt",
    "real/mp4parse-rust/video_colr_nclx_two_colr.mp4": "corrupt",
    "real/small/webm.webm": "corrupt",
}


def files(folder: str) -> list[str]:
    """Names of all files of "hostile" or "real", below the corpus."""
    found = (path for path in (CORPUS / folder).rglob("*") if path.is_file())
    return sorted(path.relative_to(CORPUS).as_posix() for path in found)


def expected(name: str) -> str:
    """ "ok", "degraded" or the error_type that the default decoder must give."""
    return FAILED.get(name) or ("degraded" if name in DEGRADED else "ok")


def frames_by_ffmpeg() -> dict[str, int]:
    """How many frames ffmpeg's own command decodes of each file."""
    with open(CORPUS / "INVENTORY.tsv", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    counts = {row["file"]: int(row["frames_decoded_by_ffmpeg"] or 0) for row in rows}
    return counts | OTHER_COUNT
