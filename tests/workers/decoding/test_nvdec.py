"""The decoder nvdec: what of it needs no GPU."""

from pathlib import Path

import numpy as np
import pytest
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter

from tests import videos
from workers.decoding import DecodeLimits, SandboxedDecoder, Unit, colors, nvdec, pyav
from workers.decoding.job import DecodeJob
from workers.decoding.result import Decoded
from workers.io.fetching import open_source
from workers.sampling import protocol

PROTOCOL = protocol("videomae-k400", size=56)


def decoded(path: Path, decode: object) -> tuple[Decoded, np.ndarray]:
    rooms: list[np.ndarray] = []

    def allocate(shape: tuple[int, int, int, int]) -> np.ndarray:
        rooms.append(np.empty(shape, dtype=np.uint8))
        return rooms[-1]

    with open_source(str(path)) as source:
        unit = Unit("u", "v", str(path))
        result = decode(DecodeJob(source, unit, PROTOCOL, DecodeLimits(), allocate))  # type: ignore[operator]
    return result, rooms[-1]


@pytest.fixture
def on_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the GPU has no engine for the codec of a file."""
    monkeypatch.setattr(nvdec, "_gpu", lambda: nvdec._Gpu(None, None))  # type: ignore[arg-type]


def test_frames_are_chosen_and_timed_as_by_pyav(tmp_path: Path, on_the_processor: None) -> None:
    path = videos.write_video(tmp_path / "a.mp4", frames=90, options={"bf": "2", "g": "12"})
    (own, frames), (reference, expected) = decoded(path, nvdec.decode), decoded(path, pyav.decode)
    assert np.array_equal(own.clip_frames, reference.clip_frames)
    assert np.array_equal(own.clip_times, reference.clip_times)
    assert np.array_equal(frames, expected)


@pytest.mark.parametrize(
    ("held", "own"), [("nv12", "yuv420p"), ("nv16", "yuv422p"), ("p010le", "yuv420p10le")]
)
def test_a_gpus_arrangement_of_planes_is_undone_without_loss(held: str, own: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (66, 98, 3), dtype=np.uint8)
    frame = VideoFrame.from_ndarray(noise, format="rgb24").reformat(format=own)
    back = colors.planar(frame.reformat(format=held), held, VideoReformatter())
    assert back.format.name == own
    assert np.array_equal(back.to_ndarray(), frame.to_ndarray())
    assert np.array_equal(
        colors.rgb(back, VideoReformatter()), colors.rgb(frame, VideoReformatter())
    )


def test_a_frame_in_memory_stays_as_it_is() -> None:
    frame = VideoFrame.from_ndarray(np.zeros((16, 16, 3), dtype=np.uint8), format="rgb24")
    assert colors.in_memory(frame, VideoReformatter()) is frame


def test_a_machine_without_a_gpu_is_refused_with_what_is_needed() -> None:
    if Path("/dev/nvidiactl").exists():
        pytest.skip("this machine has a GPU")
    with pytest.raises(RuntimeError, match=r"nvdec found no usable GPU .*libnvcuvid\.so\.1.*pyav"):
        SandboxedDecoder(PROTOCOL, decoder="nvdec")


def test_ffmpeg_without_nvdec_is_refused_with_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nvdec.require()
    monkeypatch.setattr(nvdec, "hwdevices_available", lambda: ["vaapi"])
    with pytest.raises(ImportError, match="built without NVDEC.*--only-binary av"):
        nvdec.require()


def test_the_whole_sandbox_and_nvdec_exclude_each_other() -> None:
    with pytest.raises(ValueError, match="--require-sandbox refuses --decoder nvdec"):
        SandboxedDecoder(PROTOCOL, decoder="nvdec", limits=DecodeLimits(require_sandbox=True))


def test_the_picture_that_is_tried_first_decodes() -> None:
    from av.codec import CodecContext

    decoder = CodecContext.create("h264", "r")
    frames = [frame for packet in [*nvdec._packets(), None] for frame in decoder.decode(packet)]
    assert [(frame.width, frame.height) for frame in frames] == [(320, 240)]
