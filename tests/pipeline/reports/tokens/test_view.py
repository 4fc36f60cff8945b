"""Where on a frame a token lies, by looking at every square."""

import cv2
import numpy as np
import pytest

import sta
from pipeline.reports.tokens.images import panels, sheet, write_animation, write_sheet
from pipeline.reports.tokens.view import StageMap, ViewTokens, dropped_at, masked, stage_maps

# Architecture, frames, size, r, and the side of a token in pixels at each stage.
MODELS = {
    "vit": ("vit_base", 16, 224, 64, (16, 16, 16)),
    "256 tokens at each time": ("vit_giant", 16, 224, 85, (14, 14, 14)),
    "16 times": ("vivit_base", 32, 224, 64, (16, 16, 16)),
    "small vit": ("vit_demo", 16, 112, 22, (16, 16, 16)),
    "swin": ("videoswin_tiny", 32, 224, 256, (8, 16, 32)),
    "swin of odd sides": ("videoswin_tiny", 8, 144, 64, (8, 16, 32)),
}


def make_view(name):
    """A view of noise without white, kept maps by dice."""
    architecture, frames, size, r, _ = MODELS[name]
    rng = np.random.default_rng(len(name))
    pruning = sta.Pruning(r=r)
    config = sta.architecture_config(architecture, frames=frames, image_size=size)
    kept = []
    for grid in config.token_grids(pruning):
        kept.append(rng.random(grid) < 0.5)
    pixels = rng.integers(0, 255, (frames, size, size, 3), dtype=np.uint8)
    stages = stage_maps(architecture, pruning, frames=frames, size=size, kept=kept)
    return ViewTokens("v", 0, 1, 1.0, 2.0, pixels, stages)


def wide_view():
    """A view of 48 x 80 pixels, whose tokens are squares of 16, then of 32."""
    rng = np.random.default_rng(7)
    pixels = rng.integers(0, 255, (4, 48, 80, 3), dtype=np.uint8)
    stages = (
        StageMap("first", 16, rng.random((2, 3, 5)) < 0.5),
        StageMap("second", 32, rng.random((2, 2, 3)) < 0.5),
    )
    return ViewTokens("v", 0, 1, 1.0, 2.0, pixels, stages)


def test_frames_need_not_be_square(tmp_path):
    view = wide_view()
    for number, stage in enumerate(view.stages):
        white = (masked(view, number, 3) == 255).all(axis=-1)
        for row, column in np.ndindex(48, 80):
            dropped = not stage.kept[1, row // stage.cell, column // stage.cell]
            assert white[row, column] == dropped
    order = dropped_at(view)
    assert order.shape == (2, 3, 5)
    assert ((order == 1) == ~view.stages[0].kept).all()
    second = view.stages[1].kept.repeat(2, axis=1).repeat(2, axis=2)[:, :3, :5]
    assert ((order == 0) == (view.stages[0].kept & second)).all()
    assert sheet(view).shape == (3 * 48 + 2 * 4, 2 * 80 + 4, 3)
    assert sheet(view, tile=40).shape == (3 * 24 + 2 * 4, 2 * 40 + 4, 3)
    write_sheet(view, tmp_path / "sheet.png")
    height, width = cv2.imread(str(tmp_path / "sheet.png")).shape[:2]
    assert height < width


@pytest.fixture(params=list(MODELS))
def name(request):
    return request.param


@pytest.fixture
def view(name):
    return make_view(name)


def test_a_kept_square_shows_the_frame_and_a_dropped_one_is_white(view, name):
    for stage, cell in enumerate(MODELS[name][-1]):
        kept = view.stages[stage].kept
        for frame in (0, 1, len(view.frames) - 1):
            image = masked(view, stage, frame)
            for row in range(kept.shape[1]):
                for column in range(kept.shape[2]):
                    square = np.s_[
                        row * cell : (row + 1) * cell, column * cell : (column + 1) * cell
                    ]
                    expected = view.frames[frame][square]
                    assert expected.size
                    if not kept[frame // 2, row, column]:
                        expected = np.full_like(expected, 255)
                    assert np.array_equal(image[square], expected)


def test_the_squares_cover_the_frame(view, name):
    for stage, cell in zip(view.stages, MODELS[name][-1], strict=True):
        assert stage.cell == cell
        side = view.frames.shape[1]
        assert (stage.kept.shape[1] - 1) * cell < side <= stage.kept.shape[1] * cell


def test_the_order_names_the_first_stage_that_dropped_a_place(view):
    order = dropped_at(view)
    assert order.shape == view.stages[0].kept.shape
    for slot, row, column in np.ndindex(order.shape):
        ratios = [stage.cell // view.stages[0].cell for stage in view.stages]
        dropped = [
            number
            for number, (stage, ratio) in enumerate(zip(view.stages, ratios, strict=True), 1)
            if not stage.kept[slot, row // ratio, column // ratio]
        ]
        assert order[slot, row, column] == (dropped[0] if dropped else 0)


def test_frames_belong_to_time_slots_in_turn(view):
    slots = [view.slot(frame) for frame in range(len(view.frames))]
    assert slots == [frame // 2 for frame in range(len(view.frames))]
    assert [view.first_frame(slot) for slot in range(view.slots)] == list(
        range(0, len(view.frames), 2)
    )


def test_maps_of_another_model_are_refused(view, name):
    architecture, frames, size, r, _ = MODELS[name]
    kept = [stage.kept for stage in view.stages]
    with pytest.raises(ValueError, match="not those of"):
        stage_maps(architecture, sta.Pruning(r=r), frames=frames, size=size, kept=kept[:2])


def test_a_sheet_has_stages_as_rows_and_time_slots_as_columns():
    view = make_view("small vit")
    image = sheet(view)
    step = 112 + 4
    assert image.shape == (4 * step - 4, 8 * step - 4, 3)
    for slot in range(8):
        column = np.s_[slot * step : slot * step + 112]
        assert np.array_equal(image[0:112, column], view.frames[2 * slot])
        for stage in range(3):
            top = (stage + 1) * step
            assert np.array_equal(image[top : top + 112, column], masked(view, stage, 2 * slot))


def test_a_smaller_sheet_shows_the_slots_that_were_asked_for():
    view = make_view("small vit")
    assert sheet(view, tile=56, slots=[0, 7]).shape == (4 * 60 - 4, 2 * 60 - 4, 3)
    whole = sheet(view, slots=[0, 7])
    assert np.array_equal(whole[:112, -112:], view.frames[14])


def test_the_written_sheet_holds_the_sheet_unchanged(tmp_path):
    view = make_view("small vit")
    write_sheet(view, tmp_path / "sheet.png")
    written = cv2.cvtColor(cv2.imread(str(tmp_path / "sheet.png")), cv2.COLOR_BGR2RGB)
    expected = sheet(view)
    height, width = expected.shape[:2]
    below, right = written.shape[0] - 4, written.shape[1] - 4
    assert np.array_equal(written[below - height : below, right - width : right], expected)


@pytest.mark.parametrize("ending", [".webp", ".png"])
def test_the_animation_has_every_frame_with_its_stages_beside_it(tmp_path, ending):
    view = make_view("small vit")
    write_animation(view, tmp_path / f"moves{ending}")
    read, animation = cv2.imreadanimation(str(tmp_path / f"moves{ending}"))
    assert read
    assert len(animation.frames) == len(view.frames)
    for frame, image in enumerate(animation.frames):
        shown = cv2.cvtColor(image[:, :, :3], cv2.COLOR_BGR2RGB)
        expected = panels(view, frame)
        assert shown.shape == expected.shape
        if ending == ".png":
            assert np.array_equal(shown, expected)
    assert {round(duration, -1) for duration in animation.durations} == {70}


def test_what_was_not_pruned_has_frames_alone(tmp_path):
    pruned = make_view("small vit")
    view = ViewTokens("v", 0, 0, 0.0, 1.0, pruned.frames, ())
    assert sheet(view).shape == (112, 16 * 116 - 4, 3)
    write_sheet(view, tmp_path / "sheet.png")
    assert panels(view, 3).shape == (112, 112, 3)
