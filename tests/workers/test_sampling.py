"""Frames, sizes and crops agree with the published evaluation protocols, number by number."""

import dataclasses

import numpy as np
import pytest

import sta
from sta.models.backbones import BACKBONES
from sta.models.create import model_classes
from workers import sampling
from workers.sampling import PROTOCOLS, Protocol, default_protocol, parse_views, protocol


def test_k400_takes_five_clips_of_every_fourth_frame() -> None:
    indices = protocol("videomae-k400").clip_indices(300)
    assert indices.shape == (5, 16)
    assert indices.dtype == np.int64
    assert (indices[:, 0] // 4).tolist() == [0, 14, 29, 44, 59]
    assert (np.diff(indices, axis=1) == 4).all()
    assert indices.max() == 296


def test_k400_clips_of_a_video_that_is_one_clip_long_are_all_the_same() -> None:
    indices = protocol("videomae-k400").clip_indices(64)
    assert (indices == np.arange(0, 64, 4)).all()


def test_k400_repeats_the_last_frame_of_a_short_video() -> None:
    indices = protocol("videomae-k400").clip_indices(10)
    assert (indices == [0, 4] + [8] * 14).all()


def test_one_k400_clip_is_the_center() -> None:
    indices = protocol("videomae-k400", views=(1, 1)).clip_indices(300)
    assert indices.shape == (1, 16)
    assert indices[0, 0] == 4 * int((75 - 16) / 2)


def test_ten_k400_clips_reach_from_the_start_to_the_end() -> None:
    indices = protocol("videomae-k400", views=(10, 1)).clip_indices(300)
    assert (indices[:, 0] // 4).tolist() == [int(c * 59 / 9) for c in range(10)]


def test_ssv2_clips_are_the_even_and_the_odd_places_of_two_grids() -> None:
    indices = protocol("videomae-ssv2").clip_indices(48)
    starts, middles = np.arange(0, 48, 3), np.arange(16) * 3 + 1
    both = np.sort(np.concatenate([starts, middles]))
    assert indices.tolist() == [both[0::2].tolist(), both[1::2].tolist()]


def test_one_ssv2_clip_is_the_middle_of_each_segment() -> None:
    indices = protocol("videomae-ssv2", views=(1, 3)).clip_indices(160)
    assert indices.tolist() == [list(range(5, 160, 10))]


def test_ssv2_refuses_other_numbers_of_clips_and_names_the_allowed_ones() -> None:
    with pytest.raises(ValueError, match="allows 1 or 2 clips; got 5"):
        protocol("videomae-ssv2", views=(5, 3))


def test_swin_k400_starts_in_the_middle_of_each_part() -> None:
    indices = protocol("videoswin-k400").clip_indices(300)
    assert indices[:, 0].tolist() == [29, 88, 148, 207]
    assert (np.diff(indices, axis=1) == 2).all()


def test_swin_k400_loops_a_short_video() -> None:
    indices = protocol("videoswin-k400").clip_indices(40)
    assert (indices == np.arange(0, 64, 2) % 40).all()


def test_swin_ssv2_takes_the_middle_of_each_segment() -> None:
    assert protocol("videoswin-ssv2").clip_indices(65).tolist() == [list(range(1, 65, 2))]


def test_vivit_k400_reaches_from_the_start_to_the_end() -> None:
    indices = protocol("vivit-k400").clip_indices(300)
    assert indices.shape == (4, 32)
    assert indices[:, 0].tolist() == [0, 78, 157, 236]
    assert (np.diff(indices, axis=1) == 2).all()


def test_vivit_k400_loops_a_short_video_and_takes_the_middle_for_one_clip() -> None:
    assert (protocol("vivit-k400").clip_indices(40) == np.arange(0, 64, 2) % 40).all()
    assert protocol("vivit-k400", views=(1, 1)).clip_indices(301)[0, 0] == 118


def test_vivit_crops_are_smaller_than_the_frame() -> None:
    chosen = protocol("vivit-k400")
    assert chosen.resized(360, 640) == (256, 455)
    assert chosen.resized(640, 360) == (455, 256)
    assert chosen.crop_origins(256, 455).tolist() == [[16, 0], [16, 116], [16, 231]]
    assert protocol("vivit-k400", size=112).short_side == 128


def test_vjepa2_takes_the_middle_window_of_each_part_of_a_long_video() -> None:
    indices = protocol("vjepa2-ssv2").clip_indices(301)
    within = [0, 4, 8, 12, 17, 21, 25, 29, 34, 38, 42, 46, 51, 55, 59, 63]
    assert indices.tolist() == [[start + i for i in within] for start in (43, 193)]
    assert protocol("vjepa2-k400").clip_indices(801)[:, 0].tolist() == list(range(18, 800, 100))


def test_vjepa2_windows_reach_from_end_to_end_where_parts_are_shorter() -> None:
    indices = protocol("vjepa2-ssv2").clip_indices(100)
    within = [0, 4, 9, 13, 18, 22, 27, 31, 36, 40, 45, 49, 54, 58, 62, 62]
    assert indices.tolist() == [[start + i for i in within] for start in (0, 36)]


def test_vjepa2_windows_of_a_short_video_are_the_same_and_repeat_its_last_frame() -> None:
    indices = protocol("vjepa2-ssv2").clip_indices(41)
    assert indices.tolist() == [[0, 4, 8, 13, 17, 22, 26, 31, 35, *[39] * 7]] * 2


def test_vjepa2_clips_of_more_frames_have_a_smaller_step() -> None:
    indices = protocol("vjepa2-ssv2", frames=64).clip_indices(300)
    assert indices[:, 0].tolist() == [11, 161]
    assert set(np.diff(indices, axis=1).flatten()) == {2, 3}
    assert (indices[:, -1] - indices[:, 0] == 127).all()
    dense = protocol("vjepa2-ssv2", frames=64, every_s=2.0)
    assert (dense.stride, protocol("vjepa2-k400", every_s=2.0).stride) == (2, 4)


def test_vjepa2_frames_have_a_margin_around_a_single_crop_alone() -> None:
    several, single = (protocol("vjepa2-ssv2", size=256, views=(2, crops)) for crops in (3, 1))
    assert several.resized(240, 320) == (256, 341)
    assert several.crop_origins(256, 341).tolist() == [[0, 0], [0, 42], [0, 84]]
    assert single.resized(240, 320) == (292, 389)
    assert single.crop_origins(292, 389).tolist() == [[18, 66]]
    assert protocol("vjepa2-ssv2", size=384, views=(2, 1)).short_side == 438


@pytest.mark.parametrize("name", PROTOCOLS)
@pytest.mark.parametrize("frame_count", [1, 2, 15, 16, 17, 31, 63, 64, 65, 301])
def test_every_protocol_stays_within_every_video(name: str, frame_count: int) -> None:
    chosen = protocol(name)
    indices = chosen.clip_indices(frame_count)
    assert indices.shape == (chosen.clips, chosen.frames)
    assert indices.min() >= 0
    assert indices.max() < frame_count


def test_a_video_without_frames_is_refused() -> None:
    with pytest.raises(ValueError, match="frame_count must be 1 or more"):
        protocol("videomae-k400").clip_indices(0)


@pytest.mark.parametrize(
    ("name", "expected"), [("videomae-k400", (224, 297)), ("videoswin-k400", (224, 298))]
)
def test_the_long_side_is_truncated_or_rounded(name: str, expected: tuple[int, int]) -> None:
    chosen = protocol(name)
    assert chosen.resized(256, 340) == expected
    assert chosen.resized(340, 256) == expected[::-1]


def test_three_crops_run_along_the_long_side() -> None:
    chosen = protocol("videomae-k400")
    assert chosen.crop_origins(224, 297).tolist() == [[0, 0], [0, 36], [0, 73]]
    assert chosen.crop_origins(297, 224).tolist() == [[0, 0], [36, 0], [73, 0]]


def test_swin_crops_are_both_edges_and_then_the_middle() -> None:
    assert protocol("videoswin-k400").crop_origins(224, 298).tolist() == [[0, 0], [0, 74], [0, 37]]


@pytest.mark.parametrize("name", PROTOCOLS)
def test_one_crop_is_the_center(name: str) -> None:
    chosen = dataclasses.replace(protocol(name), crops=1)
    assert chosen.crop_origins(224, 300).tolist() == [[0, 38]]


def test_crops_of_another_size_fit() -> None:
    chosen = protocol("videomae-k400", size=112)
    height, width = chosen.resized(240, 320)
    assert (height, width) == (112, 149)
    assert (chosen.crop_origins(height, width)[:, 1] + 112 <= width).all()


def test_views_are_read_from_text() -> None:
    assert parse_views("5x3") == (5, 3)
    assert parse_views(" 10X1 ") == (10, 1)


@pytest.mark.parametrize("text", ["", "5", "5x", "0x3", "5x3x2", "-1x3", "a x b"])
def test_invalid_views_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="such as 5x3"):
        parse_views(text)


def test_an_unknown_protocol_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="videomae-k400, videomae-ssv2"):
        protocol("k400")


# No ViViT whose tokens all attend to each other is published on Something-Something.
WITHOUT = {("vivit_base", "ssv2")}


@pytest.mark.parametrize("task", ["k400", "ssv2"])
@pytest.mark.parametrize("architecture", sta.ARCHITECTURES)
def test_every_architecture_has_a_default_protocol_for_its_clip_length(architecture, task) -> None:
    if (architecture, task) in WITHOUT:
        with pytest.raises(ValueError, match=f"has no default protocol for {task}; choose one"):
            default_protocol(architecture, task)
        return
    name, shape = default_protocol(architecture, task), sta.ARCHITECTURES[architecture]
    chosen = protocol(name, frames=shape.frames, size=shape.image_size)
    assert chosen.clip_indices(300).shape == (chosen.clips, shape.frames)
    if shape.backbone != "vjepa2":  # whose classifiers take 16, 32 or 64 frames
        assert PROTOCOLS[name].frames == shape.frames


@pytest.mark.parametrize("name", PROTOCOLS)
def test_one_crop_is_cut_from_frames_as_the_processor_beside_a_checkpoint_resizes_them(name):
    for backbone, model in model_classes():
        if name.startswith(f"{BACKBONES[backbone].protocols}-"):
            short = protocol(name, size=224, views=(1, 1)).short_side
            assert short == model.processor_short_side(224)


def test_the_giants_views_are_the_published_ones() -> None:
    for task, views in {"k400": (5, 3), "ssv2": (2, 3)}.items():
        recipe = PROTOCOLS[default_protocol("vit_giant", task)]
        assert (recipe.clips, recipe.crops, recipe.frames) == (*views, 16)


def test_an_architecture_of_a_kind_without_protocol_is_refused(monkeypatch) -> None:
    monkeypatch.setattr(sampling, "PROTOCOLS", {"videoswin-k400": PROTOCOLS["videoswin-k400"]})
    with pytest.raises(ValueError, match="vit_base has no default protocol for k400; choose one"):
        default_protocol("vit_base", "k400")


def test_a_protocol_of_no_views_is_refused() -> None:
    with pytest.raises(ValueError, match="crops must be 1 or more"):
        Protocol("videomae-k400", clips=5, crops=0)


@pytest.mark.parametrize(("name", "middle"), [("videomae-k400", 1), ("videoswin-k400", 2)])
def test_early_exit_evaluates_the_middle_crop_first(name, middle):
    plan = protocol(name)
    lefts = plan.crop_origins(224, 400)[:, 1].tolist()
    assert sorted(lefts)[1] == lefts[middle]
    assert plan.views_in_order[0] == (0, middle)
    assert sorted(plan.views_in_order) == [
        (clip, crop) for clip in range(plan.clips) for crop in range(plan.crops)
    ]
