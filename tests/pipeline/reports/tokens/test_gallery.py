"""The videos that a run's report shows, and what it says where one cannot be shown."""

import base64
import dataclasses
import re

import cv2
import numpy as np
import pytest

import sta
from pipeline import read_kept_token_maps
from pipeline.errors import UsageError
from pipeline.inputs.video import Video
from pipeline.reports.tokens import GalleryItem, gallery, make_gallery
from pipeline.reports.tokens.images import jpeg, sheet
from pipeline.reports.tokens.selection import chosen
from pipeline.reports.tokens.view import ViewTokens
from pipeline.run.run_directory import RunDirectory
from pipeline.storage.location import Location
from tests.pipeline.run.test_kept_token_maps import write_run
from tests.pipeline.token_runs import VIT, make_run
from tests.videos import write_video


def row(name, label, *, ground_truth=None, shadow=None, status="ok"):
    return {
        "video_id": name,
        "status": status,
        "label": label,
        "ground_truth": ground_truth,
        "ground_truth_id": None if ground_truth is None or ground_truth.startswith("?") else 0,
        "unpruned_label": shadow,
    }


@pytest.fixture
def run_of(tmp_path):
    return lambda *rows: write_run(tmp_path, [[]], videos=rows)


def test_disagreeing_and_wrong_videos_come_first_then_others_of_all_classes(run_of):
    rows = [row(f"right-{n}", "abc"[n % 3], ground_truth="abc"[n % 3]) for n in range(12)]
    rows += [row(f"wrong-{n}", "a", ground_truth="bcdef"[n]) for n in range(5)]
    rows += [row(f"shadow-{n}", "a", ground_truth="bcdef"[n], shadow="z") for n in range(5)]
    picked = chosen(run_of(*rows), 6)
    kinds = [name.split("-")[0] for name in picked]
    assert kinds == ["shadow", "wrong", "shadow", "wrong", "right", "right"]
    assert len({int(name.split("-")[1]) % 3 for name in picked[4:]}) == 2


def test_the_same_videos_are_chosen_whatever_the_order_of_the_rows(tmp_path):
    rows = [row(f"v{n}", "abcdef"[n % 6], ground_truth="a") for n in range(60)]
    (tmp_path / "1").mkdir()
    (tmp_path / "2").mkdir()
    one = write_run(tmp_path / "1", [[]], videos=rows)
    two = write_run(tmp_path / "2", [[]], videos=rows[::-1])
    assert chosen(one, 5) == chosen(two, 5)
    assert len(set(chosen(one, 5))) == 5


def test_no_more_are_chosen_than_asked_for_and_failed_ones_never(run_of):
    run = run_of(row("a", "x"), row("b", "y"), row("c", None, status="failed"))
    assert sorted(chosen(run, 9)) == ["a", "b"]
    assert len(chosen(run, 1)) == 1
    assert chosen(run, 0) == []


def test_where_nothing_else_is_there_wrong_ones_fill_the_gallery(run_of):
    run = run_of(*(row(f"v{n}", "z", ground_truth=str(n)) for n in range(9)))
    assert len(chosen(run, 6)) == 6


@pytest.fixture(scope="module")
def noisy(tmp_path_factory):
    """A run over noise, which no JPEG makes small, and a video that was deleted since."""
    folder = tmp_path_factory.mktemp("gallery")
    videos = [
        Video("a & b", str(folder / "a.mp4"), ground_truth="a"),
        Video("gone", f"{folder}/b.mp4"),
    ]
    for video in videos:
        write_video(folder / video.uri, frames=90, options={"crf": "5"})
    run = make_run(folder / "run", videos, dataclasses.replace(VIT, change=_tell_apart))
    (folder / "b.mp4").unlink()
    return run


def _tell_apart(rows):
    """Another class for the second video: of one kind and class one is chosen."""
    rows[1] |= {"label": "f", "label_id": 5}
    rows[0] |= {
        "unpruned_label": "c",
        "unpruned_label_id": 2,
        "unpruned_top_ids": [2],
        "unpruned_top_scores": [0.9],
    }
    for view in rows[0]["views"]:
        view["unpruned_label_id"] = 2


def test_an_exhibit_is_a_figure_of_modest_size_with_labels_and_no_links(noisy):
    shown, _ = make_gallery(noisy, 2)
    assert isinstance(shown, GalleryItem)
    assert shown.video_id == "a & b"
    assert len(shown.html) < 150_000
    assert shown.html.strip().startswith("<figure>")
    assert "<a " not in shown.html
    assert "a &amp; b" in shown.html
    assert ">correct</span>" in shown.html
    assert re.search(r"Without pruning: <span class=\"bad\">c</span>", shown.html)
    assert 'alt="4 frames of a &amp; b' in shown.html


def test_an_exhibits_picture_has_dropped_tokens_in_white(noisy):
    (data,) = re.findall(r"data:image/jpeg;base64,([^\"]+)", make_gallery(noisy, 1)[0].html)
    image = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)
    assert image.shape == (4 * 116 - 4, 4 * 116 - 4, 3)
    (mask, _, _) = _kept(noisy)
    for row_, column in np.ndindex(7, 7):
        top, left = 116 + 16 * row_, 16 * column
        inside = image[top + 4 : top + 12, left + 4 : left + 12]
        assert (inside.mean() > 235) == (not mask[0, row_, column])


def _kept(run):
    maps = read_kept_token_maps(run.root.uri, "a & b")
    return [stage[1] for stage in maps.stages]  # the middle crop of the first clip


def test_even_noise_stays_below_its_size():
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (16, gallery.TILE, gallery.TILE, 3), dtype=np.uint8)
    view = ViewTokens("v", 0, 0, 0.0, 1.0, frames, ())
    rows = sheet(view, slots=[0, 1, 2, 3])
    data = jpeg(np.concatenate([rows] * 4), gallery.QUALITY)
    assert len(base64.b64encode(data)) < 150_000


def test_a_video_that_is_gone_costs_its_picture_alone(noisy):
    _, gone = make_gallery(noisy, 2)
    assert gone.video_id == "gone"
    assert "Cannot be shown: gone" in gone.html
    assert "not_found" in gone.html
    assert "<img" not in gone.html


def test_an_unpruned_run_has_a_gallery_of_frames(tmp_path):
    video = write_video(tmp_path / "a.mp4", frames=90)
    recipe = dataclasses.replace(VIT, pruning=sta.Pruning())
    run = make_run(tmp_path / "run", [Video("a", str(video))], recipe)
    (item,) = make_gallery(run, 3)
    assert "<img" in item.html
    assert "stage" not in item.html.split("<figcaption>")[1]


def test_a_decoder_that_does_not_start_costs_the_pictures_alone(noisy, monkeypatch):
    def broken(facts):
        raise RuntimeError("no process\nto be had")

    monkeypatch.setattr(gallery, "ViewDecoder", broken)
    assert ["no process to be had" in item.html for item in make_gallery(noisy, 2)] == [True] * 2


def test_where_there_is_no_run_there_is_no_gallery(tmp_path):
    with pytest.raises(UsageError, match="holds no run"):
        make_gallery(RunDirectory(Location.of(str(tmp_path))), 3)
