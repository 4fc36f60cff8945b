"""The demo's training: symmetries carry labels along, steps lower the loss, a budget ends it."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import sta
from pipeline.inputs.demo.scenes import DIRECTIONS, LABELS
from pipeline.lab.demo.evaluation import evaluate, line, prunings
from pipeline.lab.demo.examples import (
    FRAMES,
    SIZE,
    Augmentation,
    Batch,
    Example,
    draw_batch,
    plain_batch,
)
from pipeline.lab.demo.training import (
    Settings,
    Trainer,
    all_logits,
    busy_logits,
    learning_rate,
    new_model,
    train,
)

SYMMETRIES = [Augmentation(*flags) for flags in product((False, True), repeat=4)]


def dot_clip(direction: tuple[int, int]) -> NDArray[np.uint8]:
    """A white dot that moves one pixel per frame from the middle: (T, S, S, 3)."""
    clip = np.zeros((FRAMES, SIZE, SIZE, 3), np.uint8)
    for time in range(FRAMES):
        clip[time, SIZE // 2 + direction[1] * time, SIZE // 2 + direction[0] * time] = 255
    return clip


def way_of(clip: NDArray[np.uint8]) -> tuple[int, int]:
    """Pixels (x, y) per frame of a clip's only dot."""
    places = [np.argwhere(picture[..., 0])[0] for picture in clip]
    (down, across) = places[1] - places[0]
    return int(across), int(down)


def bright_examples() -> list[Example]:
    """Two videos that differ in brightness, labeled with the first two kinds' circles."""
    dark, bright = LABELS.index("ball circles"), LABELS.index("box circles")
    rng = np.random.default_rng(0)
    shape = (20, SIZE, SIZE + 30, 3)
    return [
        Example(rng.integers(0, 60, shape).astype(np.uint8), dark),
        Example(rng.integers(190, 250, shape).astype(np.uint8), bright),
    ]


@pytest.fixture(scope="module")
def batch() -> Batch:
    return draw_batch(bright_examples(), np.random.default_rng(0), 4)


@pytest.mark.parametrize("symmetry", SYMMETRIES, ids=str)
def test_a_symmetry_turns_the_label_as_it_turns_the_motion(symmetry: Augmentation) -> None:
    for motion, way in DIRECTIONS.items():
        if not any(way):
            continue
        turned = symmetry.label_id(LABELS.index(f"star {motion}"))
        kind, _, turned_motion = LABELS[turned].partition(" ")
        assert kind == "star"
        assert way_of(symmetry.clip(dot_clip(way))) == DIRECTIONS[turned_motion]


def test_a_mirrored_slide_to_the_left_is_a_slide_to_the_right() -> None:
    turned = Augmentation(mirror=True).label_id(LABELS.index("ring slides left"))
    assert LABELS[turned] == "ring slides right"


@pytest.mark.parametrize("symmetry", SYMMETRIES, ids=str)
def test_every_symmetry_maps_labels_one_to_one_and_circles_to_circles(
    symmetry: Augmentation,
) -> None:
    turned = [symmetry.label_id(label_id) for label_id in range(len(LABELS))]
    assert sorted(turned) == list(range(len(LABELS)))
    for before, after in enumerate(turned):
        assert LABELS[before].endswith("circles") == LABELS[after].endswith("circles")


def test_a_batch_is_what_the_seed_says() -> None:
    first = draw_batch(bright_examples(), np.random.default_rng(3), 4)
    again = draw_batch(bright_examples(), np.random.default_rng(3), 4)
    assert torch.equal(first.clips, again.clips)
    assert torch.equal(first.gain, again.gain)
    assert torch.equal(first.labels, again.labels)


def test_normalization_is_imagenets() -> None:
    white = plain_batch(np.full((1, FRAMES, SIZE, SIZE, 3), 255, np.uint8), 0)
    expected = (1 - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor([0.229, 0.224, 0.225])
    assert torch.allclose(white.normalized(white.clips)[0, 0, 0, 0], expected)


def test_busy_tokens_that_are_all_tokens_give_the_whole_model(batch: Batch) -> None:
    model = new_model(0)
    torch.nn.init.normal_(model.head.weight)
    with torch.no_grad():
        whole, busy = all_logits(model, batch), busy_logits(model, batch, 392)
    assert torch.allclose(whole, busy, atol=1e-4)


def test_busy_tokens_are_those_in_which_something_changes() -> None:
    clips = np.zeros((1, FRAMES, SIZE, SIZE, 3), np.uint8)
    clips[:, 1::2, 32:48, 64:80] = 200
    model = new_model(0)
    torch.nn.init.normal_(model.head.weight)
    with torch.no_grad():
        torch.manual_seed(0)
        seen = busy_logits(model, plain_batch(clips, 0), 12)
        torch.manual_seed(0)
        dark = busy_logits(model, plain_batch(np.zeros_like(clips), 0), 12)
    assert not torch.allclose(seen, dark, atol=1e-2)


@pytest.mark.parametrize("tokens", [None, 24])
def test_steps_lower_the_loss(tokens: int | None) -> None:
    trainer = Trainer(new_model(0), Settings(seconds=1, batch=4, smoothing=0.0))
    rng = np.random.default_rng(0)
    losses = [
        trainer.step(draw_batch(bright_examples(), rng, 4), rate=1e-3, tokens=tokens)[0]
        for _ in range(8)
    ]
    assert losses[0] == pytest.approx(np.log(len(LABELS)), rel=1e-3)
    assert min(losses[-3:]) < 0.7 * losses[0]


def test_training_returns_a_dense_model_and_reports_what_it_kept() -> None:
    kept: list[sta.VisionTransformer] = []
    settings = Settings(seconds=2, batch=2, course=((1.0, 24),))
    model = train(
        new_model(0),
        bright_examples(),
        settings,
        report=lambda step, seconds, loss, right: None,
        keep=kept.append,
        every=0.0,
    )
    assert model.stages == ()
    assert not model.training
    assert kept
    assert model.head.weight.abs().sum() > 0


def test_the_learning_rate_rises_then_falls() -> None:
    settings = Settings(seconds=1)
    rates = [learning_rate(settings, progress / 100) for progress in range(101)]
    top = rates.index(max(rates))
    assert rates[top] == pytest.approx(settings.peak)
    assert rates[:top] == sorted(rates[:top])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert rates[-1] == pytest.approx(settings.peak / 100)


def test_the_course_ends_with_all_tokens() -> None:
    settings = Settings(seconds=1, course=((0.5, 36), (0.7, 128)))
    assert [settings.tokens_at(p) for p in (0.0, 0.6, 0.8)] == [36, 128, None]


@pytest.mark.parametrize("frames", [0, FRAMES - 1])
def test_training_refuses_videos_it_cannot_cut_clips_from(frames: int) -> None:
    short = [Example(np.zeros((frames, SIZE, SIZE, 3), np.uint8), 0)] if frames else []
    with pytest.raises(ValueError, match="video"):
        train(
            new_model(0),
            short,
            Settings(seconds=1),
            report=lambda step, seconds, loss, right: None,
            keep=lambda model: None,
        )


@pytest.mark.parametrize("wrong", [{"seconds": 0}, {"seconds": 1, "smoothing": 1.0}])
def test_settings_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"above 0|\[0, 1\)"):
        Settings(**wrong)  # type: ignore[arg-type]


def test_evaluation_counts_right_views_and_videos(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    model = new_model(0)
    with torch.no_grad():
        model.head.bias[4] = 1.0
    sta.save_checkpoint(model, path, labels=LABELS, origin="test")
    videos = np.zeros((20, SIZE, SIZE + 37, 3), np.uint8)
    scores = evaluate(path, [Example(videos, 4), Example(videos, 5)], prunings([8]))
    assert [(score.pruning.r, score.pruning.score) for score in scores] == [
        (0, "sta"),
        (8, "sta"),
        (8, "random"),
    ]
    assert all((s.views, s.one_view, s.videos) == (0.5, 0.5, 0.5) for s in scores)
    assert scores[1].flops < scores[0].flops
    assert line(scores[2]).startswith("random r=8")
