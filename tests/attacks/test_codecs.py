"""Only decoders of the allowed codecs open, and only those of a recent FFmpeg."""

from __future__ import annotations

from pathlib import Path

import av
import pytest

from pipeline.errors import UsageError
from pipeline.labeling.decoder_check import check_decoder
from pipeline.labeling.machine_flags import allowed_codecs
from tests import videos
from tests.workers import codec_videos
from workers.decoding import DecodedUnit, DecodeLimits, SandboxedDecoder, Unit, codecs
from workers.decoding.container import opened_video
from workers.failures import ErrorType, UnitFailure
from workers.io.fetching import open_source
from workers.sampling import protocol

PROTOCOL = protocol("videomae-k400", size=32)


def decode(path: Path, decoder: str = "pyav", *allowed: str) -> DecodedUnit | UnitFailure:
    limits = DecodeLimits(allow_codecs=allowed)
    with SandboxedDecoder(PROTOCOL, decoder=decoder, limits=limits) as sandbox:
        return sandbox.decode(Unit("u", "v", str(path)))


@pytest.mark.parametrize("decoder", ["pyav", "decord"])
@pytest.mark.parametrize("codec", ["magicyuv", "cinepak", "snow"])
def test_an_unusual_codec_is_a_row_that_names_the_codec_and_the_flag(
    decoder: str, codec: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.avi"
    codec_videos.write(path, "avi", codec, {})
    refused = decode(path, decoder)
    assert isinstance(refused, UnitFailure)
    assert refused.error_type is ErrorType.unsupported_codec
    assert codec in refused.message
    assert f"--allow-codec {codec}" in refused.message
    assert isinstance(decode(path, decoder, codec), DecodedUnit)


def with_hidden_stream(tmp_path: Path) -> Path:
    """A good video, and a second video stream of MagicYUV."""
    hidden = tmp_path / "hidden.mov"
    codec_videos.write(hidden, "mov", "magicyuv", {})
    good = videos.write_video(tmp_path / "good.mp4", height=240, width=320)
    path = tmp_path / "both.mov"
    with av.open(str(good)) as first, av.open(str(hidden)) as second, av.open(str(path), "w") as to:
        copies = [to.add_stream_from_template(each.streams.video[0]) for each in (first, second)]
        for reader, copy in zip((first, second), copies, strict=True):
            for packet in reader.demux(video=0):
                if packet.dts is not None:
                    packet.stream = copy
                    to.mux(packet)
    return path


def test_no_decoder_opens_for_a_stream_that_is_not_the_video(tmp_path: Path) -> None:
    """Not for its header either: with only the codec's name known, its pixels have no format."""
    path = with_hidden_stream(tmp_path)
    with open_source(str(path)) as source, opened_video(source, DecodeLimits()) as (container, one):
        assert one.codec_context.name == "h264"
        other = next(s for s in container.streams.video if s.index != one.index)
        assert not codecs.are_usual(container)
        assert other.codec_context.format is None
    with av.open(str(path)) as container:
        assert all(s.codec_context.format is not None for s in container.streams.video)


def test_decord_is_not_given_a_file_with_an_unusual_codec_in_any_stream(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from workers.decoding import decord
    from workers.decoding.demuxer import Demuxer
    from workers.decoding.packets import read_table

    for path, suited in ((with_hidden_stream(tmp_path), False), (tmp_path / "good.mp4", True)):
        with open_source(str(path)) as source, Demuxer(source, DecodeLimits()) as demuxer:
            table = read_table(demuxer.whole(), demuxer.stream, size=source.size)
            assert decord._is_suited(demuxer, table) is suited


def test_what_archives_hold_is_allowed() -> None:
    usual = {"h264", "hevc", "av1", "vp8", "vp9", "mpeg1video", "mpeg2video", "mpeg4", "h263"}
    usual |= {"msmpeg4v3", "mjpeg", "prores", "dnxhd", "dvvideo", "theora", "wmv2", "vc1", "flv1"}
    assert usual <= codecs.USUAL_CODECS
    for codec in codecs.USUAL_CODECS:
        assert codecs.checked_codec(codec) == codec
    assert "libdav1d" in codecs.decoder_names(()).split(",")
    assert "magicyuv" not in codecs.decoder_names(()).split(",")
    assert "cinepak" in codecs.decoder_names(["cinepak"]).split(",")


def test_allowed_codecs_are_checked_against_those_of_ffmpeg() -> None:
    assert allowed_codecs("cinepak, libdav1d") == ("cinepak", "av1")
    with pytest.raises(ValueError, match=r"no video decoder 'cinepack'; the nearest name is cinep"):
        allowed_codecs("cinepack")
    with pytest.raises(ValueError, match="no video decoder 'aac'"):
        allowed_codecs("aac")


def test_an_old_ffmpeg_is_refused_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    codecs.check_ffmpeg()
    monkeypatch.setitem(av.library_versions, "libavcodec", (61, 19, 101))
    with pytest.raises(ImportError, match=r"libavcodec 61\.19\.101\); FFmpeg 8\.0 or later"):
        codecs.check_ffmpeg()
    with pytest.raises(UsageError, match="pip install --upgrade av"):
        check_decoder("pyav")


def test_decord_says_that_its_ffmpeg_is_old(capsys: pytest.CaptureFixture[str]) -> None:
    check_decoder("pyav")
    assert capsys.readouterr().err == ""
    check_decoder("decord")
    assert "FFmpeg 4.1.6" in capsys.readouterr().err
