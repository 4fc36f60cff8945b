"""Whatever a stream says about its colors, there is a picture or a reason that names them."""

from pathlib import Path

import av
import numpy as np
import pytest
from av.codec import Codec
from av.video.reformatter import VideoReformatter

from tests import videos
from tests.workers import codec_videos
from workers.decoding import DecodedUnit, SandboxedDecoder, Unit, colors
from workers.failures import ErrorType, UnitFailure
from workers.sampling import protocol

RGB = videos.picture(3, 48, 64)
MATRICES = range(18)
REFUSED = {10, 11, 12, 13, 14, 15, 16, 17}
FULL, LIMITED = 2, 1
FORMATS = sorted(
    {
        format.name
        for encoder in codec_videos.encoders()
        for format in Codec(encoder, "w").video_formats or []
    }
)


def painted(
    matrix: int, full_range: int = 0, primaries: int = 2, pixel_format: str = "yuv420p"
) -> videos.Pixels:
    frame = av.VideoFrame.from_ndarray(RGB, format="rgb24").reformat(format=pixel_format)
    frame.colorspace, frame.color_range, frame.color_primaries = matrix, full_range, primaries
    return colors.rgb(frame, VideoReformatter())


@pytest.mark.parametrize("full_range", [0, LIMITED, FULL])
@pytest.mark.parametrize("matrix", MATRICES)
def test_every_matrix_is_converted_or_named(matrix: int, full_range: int) -> None:
    if matrix not in REFUSED:
        assert painted(matrix, full_range).shape == RGB.shape
        return
    with pytest.raises(UnitFailure, match=rf"color matrix .* \({matrix}\) cannot be conv") as info:
        painted(matrix, full_range)
    assert info.value.error_type is ErrorType.unsupported_codec


@pytest.mark.parametrize("name", FORMATS)
def test_every_pixel_format_is_converted_or_named_with_every_matrix(name: str) -> None:
    for matrix in MATRICES:
        frame = av.VideoFrame(64, 48, name)
        frame.colorspace = matrix
        outcome = picture_or_failure(frame)
        if isinstance(outcome, UnitFailure):
            assert outcome.error_type is ErrorType.unsupported_codec
            assert f"({matrix})" in outcome.message or name in outcome.message
        else:
            assert outcome.shape == (48, 64, 3)


def picture_or_failure(frame: av.VideoFrame) -> videos.Pixels | UnitFailure:
    try:
        return colors.rgb(frame, VideoReformatter())
    except UnitFailure as failure:
        return failure


@pytest.mark.parametrize("primaries", [1, 5, 6, 7, 9])
def test_a_matrix_that_follows_from_known_primaries_is_theirs(primaries: int) -> None:
    assert np.array_equal(painted(12, primaries=primaries), painted(primaries))


def test_the_reserved_number_counts_as_unspecified() -> None:
    assert np.array_equal(painted(3), painted(2))


def ycgco(rgb: videos.Pixels, full_range: int) -> videos.Pixels:
    """uint8 (3, height, width): ITU-T H.273, equations 20 to 22 and 47 to 49."""
    scale, offset = (1.0, 0.0) if full_range == FULL else (219 / 255, 16.0)
    red, green, blue = np.moveaxis(rgb * scale + offset, -1, 0)
    luma = green / 2 + (red + blue) / 4
    cg, co = green / 2 - (red + blue) / 4 + 128, (red - blue) / 2 + 128
    return np.clip(np.rint(np.stack([luma, cg, co])), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("pixel_format", ["yuv444p", "yuv420p", "yuv420p10le", "yuv444p12le"])
@pytest.mark.parametrize("full_range", [LIMITED, FULL])
def test_ycgco_gives_the_colors_that_were_written(full_range: int, pixel_format: str) -> None:
    smooth = np.repeat(np.repeat(RGB[::16, ::16], 16, axis=0), 16, axis=1)
    frame = av.VideoFrame.from_ndarray(ycgco(smooth, full_range), format="yuv444p")
    frame.color_range = full_range
    frame = VideoReformatter().reformat(
        frame, format=pixel_format, src_color_range=full_range, dst_color_range=full_range
    )
    frame.colorspace, frame.color_range = 8, full_range
    found = colors.rgb(frame, VideoReformatter()).astype(int)
    inside = np.s_[8::16, 8::16]  # where chroma is not interpolated between two patches
    assert np.abs(found[inside] - smooth[inside]).max() <= 3


def with_matrix(path: Path, matrix: int) -> Path:
    """An H.264 video whose stream names the matrix."""
    names = {8: "YCgCo", 10: "bt2020c", 14: "ICtCp"}
    return videos.write_video(path, options={"x264-params": f"colormatrix={names[matrix]}"})


@pytest.mark.parametrize("matrix", [8, 10, 14])
def test_a_file_of_such_a_matrix_is_labeled_or_refused_by_its_name(
    matrix: int, tmp_path: Path
) -> None:
    path = with_matrix(tmp_path / "a.mp4", matrix)
    for decoder in ("pyav", "decord"):
        if decoder == "decord":
            pytest.importorskip("decord")
        with SandboxedDecoder(protocol("videomae-k400", size=56), decoder=decoder) as sandbox:
            result = sandbox.decode(Unit("u", "v", str(path)))
        if matrix == 8:
            assert isinstance(result, DecodedUnit)
            assert result.lost_frames == 0
        else:
            assert isinstance(result, UnitFailure)
            assert result.error_type is ErrorType.unsupported_codec
            assert "color matrix" in result.message
