"""Tokens on a page in a real browser, and the command that writes it."""

import base64
import dataclasses
import io
import subprocess
import sys
import time
from pathlib import Path

import av
import numpy as np
import pytest

import sta
from jobs.show_tokens import main
from pipeline.inputs.video import Video
from pipeline.reports.tokens.show import ShowOptions, show
from pipeline.reports.tokens.view import dropped_at
from tests.browser import DESKTOP, PHONE, browser_page, needs_browser
from tests.pipeline.token_runs import SWIN, VIT, make_run
from tests.videos import write_video

JOB = Path(__file__).parents[2] / "jobs" / "show_tokens.py"


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return write_video(tmp_path_factory.mktemp("videos") / "a.mp4", frames=150)


@pytest.fixture(scope="module", params=["vit", "swin"])
def shown(request, source, random_checkpoint, tmp_path_factory):
    """A page of a real ViT with labels by both models, or of a VideoSwin by dice."""
    recipe = {"vit": dataclasses.replace(VIT, checkpoint=random_checkpoint), "swin": SWIN}
    folder = tmp_path_factory.mktemp(request.param)
    run = make_run(folder / "run", [Video("a <b>", str(source))], recipe[request.param])
    return show(ShowOptions(run.root.uri, "a <b>", folder=folder))


@pytest.fixture(scope="module")
def page(shown):
    with browser_page(shown.page) as page:
        ready(page)
        yield page


def ready(page):
    deadline = time.monotonic() + 300
    while not page.run("return document.body.dataset.ready"):
        assert time.monotonic() < deadline, page.console_errors()


def slide(page, name, value):
    page.run(
        "const input = document.getElementById(arguments[0]); input.value = arguments[1];"
        "input.dispatchEvent(new Event('input'))",
        name,
        value,
    )


def choose(page, mode):
    page.run(f"document.querySelector('input[value={mode}]').click()")


def drawn(page, canvas="view"):
    """What a canvas shows, as uint8 (height, width, 3)."""
    script = "return document.getElementById(arguments[0]).toDataURL('image/png')"
    data = base64.b64decode(page.run(script, canvas).partition(",")[2])
    with av.open(io.BytesIO(data), format="png_pipe") as container:
        return next(container.decode(video=0)).to_ndarray(format="rgb24")


def squares(image, side, grid):
    """Mean colors (grid, grid, 3) of the insides of a image's squares."""
    cell = len(image) // grid
    assert cell * grid == len(image) == side
    blocks = image.reshape(grid, cell, grid, cell, 3)[:, 1:-1, :, 1:-1]
    return blocks.mean(axis=(1, 3))


@needs_browser
@pytest.mark.parametrize("size", [DESKTOP, PHONE])
def test_a_page_stands_alone_and_fits_without_errors(shown, size):
    with browser_page(shown.page, size) as page:
        ready(page)
        slide(page, "frame", 3)
        choose(page, "order")
        assert page.console_errors() == []
        assert page.requests() == []
        assert page.inner_width() == size[0]
        assert page.width_overflow() == 0


@needs_browser
def test_the_page_of_an_unpruned_run_has_frames_to_slide_over(source, tmp_path):
    recipe = dataclasses.replace(VIT, pruning=sta.Pruning())
    run = make_run(tmp_path / "run", [Video("a", str(source))], recipe)
    shown = show(ShowOptions(run.root.uri, "a", folder=tmp_path))
    with browser_page(shown.page, PHONE) as page:
        ready(page)
        first = drawn(page)
        slide(page, "frame", 9)
        assert not np.array_equal(first, drawn(page))
        assert page.console_errors() == []
        assert page.width_overflow() == 0


@needs_browser
def test_the_sliders_move_what_is_drawn(page):
    slide(page, "stage", 1)
    slide(page, "frame", 0)
    first = drawn(page)
    slide(page, "frame", 8)
    later = drawn(page)
    slide(page, "stage", 3)
    pruned = drawn(page)
    slide(page, "opacity", 20)
    assert not np.array_equal(first, later)
    assert not np.array_equal(later, pruned)
    assert not np.array_equal(pruned, drawn(page))


@needs_browser
def test_dropped_squares_are_white_and_kept_ones_show_the_frame(page, shown):
    choose(page, "masked")
    slide(page, "opacity", 100)
    for frame in (0, 5, 15):
        slide(page, "frame", frame)
        slide(page, "stage", 0)
        bare = drawn(page)
        for number, stage in enumerate(shown.view.stages, start=1):
            slide(page, "stage", number)
            grid = stage.kept.shape[1]
            colors = squares(drawn(page), len(bare), grid)
            kept = stage.kept[frame // 2]
            assert (colors[~kept] == 255).all()
            assert np.array_equal(colors[kept], squares(bare, len(bare), grid)[kept])


@needs_browser
def test_the_bare_frame_is_the_one_that_the_model_was_given(page, shown):
    slide(page, "stage", 0)
    for frame in (0, 7):
        slide(page, "frame", frame)
        image = drawn(page)
        size = shown.view.frames.shape[1]
        shrunk = image.reshape(size, len(image) // size, size, -1, 3).mean(axis=(1, 3))
        assert np.abs(shrunk - shown.view.frames[frame]).mean() < 6


@needs_browser
def test_the_order_colors_each_square_by_the_stage_that_dropped_it_first(page, shown):
    choose(page, "order")
    slide(page, "opacity", 100)
    slide(page, "frame", 4)
    order = dropped_at(shown.view)[2]
    colors = {1: (0x44, 0x77, 0xAA), 2: (0xCC, 0xBB, 0x44), 3: (0xEE, 0x66, 0x77)}
    slide(page, "stage", 0)
    bare = drawn(page)
    for shown_up_to in (1, 2, 3):
        slide(page, "stage", shown_up_to)
        found = squares(drawn(page), len(bare), len(order))
        clear = squares(bare, len(bare), len(order))
        for place in np.ndindex(order.shape):
            dropped = 0 < order[place] <= shown_up_to
            expected = colors[order[place]] if dropped else clear[place]
            assert np.array_equal(found[place], expected)
    choose(page, "masked")


@needs_browser
def test_keys_move_the_sliders_and_the_picture_says_what_it_shows(page, shown):
    slide(page, "frame", 0)
    slide(page, "stage", 3)
    before = drawn(page)
    page.driver.find_element("id", "frame").send_keys("\ue014\ue014")  # arrow right, twice
    assert page.run("return document.getElementById('frame').value") == "2"
    said = page.run("return document.getElementById('frame').getAttribute('aria-valuetext')")
    assert said.startswith(f"3 of {len(shown.view.frames)}, ")
    assert not np.array_equal(before, drawn(page))
    kept = shown.view.stages[2].kept[1]
    label = page.run("return document.getElementById('view').getAttribute('aria-label')")
    assert f"stage 3 kept {kept.sum()} of {kept.size} tokens" in label


@needs_browser
def test_every_control_has_a_name(page):
    names = page.run(
        "return [...document.querySelectorAll('input, button')].map(control => "
        "control.textContent || control.labels[0]?.textContent.trim() || '')"
    )
    assert len(names) == 6
    assert all(names)


@needs_browser
def test_the_play_button_runs_through_the_frames_until_it_is_pressed_again(page):
    slide(page, "frame", 0)
    page.run("document.getElementById('play').click()")
    deadline = time.monotonic() + 300
    while page.run("return document.getElementById('frame').value") == "0":
        assert time.monotonic() < deadline
    page.run("document.getElementById('play').click()")
    assert page.run("return document.getElementById('play').textContent") == "Play"


@needs_browser
def test_a_click_on_the_overview_shows_that_stage_and_time(page):
    page.run(
        "const canvas = document.getElementById('overview');"
        "const box = canvas.getBoundingClientRect();"
        "canvas.dispatchEvent(new MouseEvent('click', {clientX: box.left + 2,"
        " clientY: box.bottom - 2}))"
    )
    values = "return ['frame', 'stage'].map(id => document.getElementById(id).value)"
    assert page.run(values) == ["0", "3"]


def test_names_from_the_archive_are_no_markup(shown):
    text = shown.page.read_text()
    assert "a &lt;b&gt;" in text
    assert "a <b>" not in text


def command(*arguments):
    return subprocess.run(
        [sys.executable, str(JOB), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )


def test_the_command_writes_three_files_and_says_what_they_show(
    source, random_checkpoint, tmp_path
):
    recipe = dataclasses.replace(VIT, checkpoint=random_checkpoint)
    videos = [Video("a", str(source))]
    run = make_run(tmp_path / "pruned", videos, recipe)
    dense = make_run(tmp_path / "dense", videos, dataclasses.replace(recipe, pruning=sta.Pruning()))
    done = command(
        run.root.uri,
        "a",
        "--clip",
        1,
        "--crop",
        2,
        "--unpruned-run",
        dense.root.uri,
        "--out",
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert "216 of 392 tokens kept (55.1%), after block 1 of 6" in done.stdout
    assert f"From the run {dense.root.uri}" in done.stdout
    for ending in ("html", "png", "webp"):
        file = tmp_path / f"a-clip-1-crop-2.{ending}"
        assert file.stat().st_size
        assert str(file) in done.stdout


def test_a_wrong_command_is_one_line_and_exit_code_2(source, tmp_path, capsys):
    run = make_run(tmp_path / "run", [Video("a", str(source))], VIT)
    for arguments, said in (
        ((run.root.uri, "b"), "has no video 'b'; it has a"),
        ((tmp_path / "nothing", "a"), "holds no run"),
        ((run.root.uri, "a", "--clip", 9), "has no clip 9; it has 0 to 1"),
    ):
        assert main([*map(str, arguments), "--out", str(tmp_path / "out")]) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ")
        assert len(error.splitlines()) == 1
        assert said in error
    assert not (tmp_path / "out").exists()


def test_a_damaged_table_is_one_line_and_exit_code_1(source, tmp_path):
    run = make_run(tmp_path / "run", [Video("a", str(source))], VIT)
    table = next(Path(run.videos.uri).iterdir())
    table.write_bytes(table.read_bytes()[:-100])
    done = command(run.root.uri, "a", "--out", tmp_path / "out")
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.splitlines()) == 1
