"""Fast decoding gives nearly the frames of exact decoding, of nearly the same times."""

from pathlib import Path

import numpy as np
import pytest

from tests import videos
from workers.decoding import DecodedUnit, SandboxedDecoder, Unit
from workers.decoding.plan import moved_to_entries, select
from workers.sampling import protocol

PROTOCOL = protocol("videomae-k400", size=56)


def test_a_clip_moves_to_the_nearest_entry_within_half_its_length() -> None:
    entries = np.array([0, 60, 100])
    clips = np.array([[55, 65, 75], [71, 81, 91], [49, 59, 69], [81, 91, 101], [95, 97, 99]])
    moved = moved_to_entries(clips, entries, 130)
    assert moved[:, 0].tolist() == [60, 71, 49, 81, 95]
    assert (np.diff(moved) == np.diff(clips)).all()


def test_a_clip_stays_where_its_end_would_be_cut_off_or_where_it_is_looped() -> None:
    entries = np.array([0, 60])
    assert moved_to_entries(np.array([[55, 65, 75]]), entries, 80)[0, 0] == 55
    assert moved_to_entries(np.array([[55, 65, 5]]), entries, 100)[0, 0] == 55


def test_where_a_clip_begins_does_not_depend_on_the_other_clips() -> None:
    draw = np.random.default_rng(0)
    for _ in range(50):
        starts = np.sort(draw.integers(0, 200, 5))
        clips = starts[:, None] + 4 * np.arange(16)
        entries = np.unique(draw.integers(0, 260, 6))
        together = moved_to_entries(clips, entries, 262)
        alone = [moved_to_entries(clip[None], entries, 262)[0] for clip in clips]
        assert np.array_equal(together, np.array(alone))


def test_no_clip_of_a_segment_moves_out_of_it() -> None:
    times, unit = np.arange(600) / 30, Unit("u", "v", "x", start_s=5.0, end_s=15.0)
    for step in (7, 60, 250):
        clips = select(
            times, unit, protocol("videomae-k400"), entries=np.arange(0, 600, step)
        ).clips
        assert clips.min() >= 150
        assert clips.max() < 450


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts", "a.avi"])
def test_the_sandboxed_decoder_gives_nearly_the_same_frames(name: str, tmp_path: Path) -> None:
    path = videos.write_video(
        tmp_path / name, frames=200, height=240, width=320, options={"g": "1000", "bf": "2"}
    )
    unit = Unit("unit", "video", str(path))
    with (
        SandboxedDecoder(PROTOCOL) as exact,
        SandboxedDecoder(PROTOCOL, mode="fast") as fast,
    ):
        expected, found = exact.decode(unit), fast.decode(unit)
    assert isinstance(expected, DecodedUnit)
    assert isinstance(found, DecodedUnit)
    assert found.frames.shape == expected.frames.shape
    assert np.array_equal(found.clip_frames, expected.clip_frames)
    assert np.allclose(found.clip_times, expected.clip_times)
    assert np.median(np.abs(found.frames.astype(int) - expected.frames)) < 8


def test_a_moved_clip_has_the_times_of_its_own_frames(tmp_path: Path) -> None:
    path = videos.write_video(tmp_path / "a.mp4", frames=300, options={"g": "60", "bf": "2"})
    with SandboxedDecoder(PROTOCOL, mode="fast") as fast:
        found = fast.decode(Unit("unit", "video", str(path)))
    assert isinstance(found, DecodedUnit)
    assert found.clip_times[:, 0] * 30 == pytest.approx([0, 60, 120, 180, 236])


@pytest.mark.parametrize("name", ["a.mp4", "a.ts"])
def test_a_clip_decoded_alone_has_the_pixels_that_it_has_among_all(
    name: str, tmp_path: Path
) -> None:
    path = videos.write_video(tmp_path / name, frames=300, options={"g": "60", "bf": "2"})
    with SandboxedDecoder(PROTOCOL, mode="fast") as fast:
        whole = fast.decode(Unit("unit", "video", str(path)))
        assert isinstance(whole, DecodedUnit)
        for number in range(PROTOCOL.clips):
            alone = fast.decode(Unit("unit", "video", str(path), clips=(number,)))
            assert isinstance(alone, DecodedUnit)
            place = list(alone.clips or range(PROTOCOL.clips)).index(number)
            assert np.array_equal(alone.clip_times[place], whole.clip_times[number])
            rows = alone.frames[alone.clip_frames[place]]
            assert np.array_equal(rows, whole.frames[whole.clip_frames[number]])


def test_another_mode_or_decoder_is_refused() -> None:
    with pytest.raises(ValueError, match="mode must be one of exact, fast; got 'rough'"):
        SandboxedDecoder(PROTOCOL, mode="rough")
    with pytest.raises(ValueError, match="decoder 'decord' has no mode 'fast'; use 'pyav'"):
        SandboxedDecoder(PROTOCOL, decoder="decord", mode="fast")
