"""Labeler: the right pixels reach the model, the right labels their units, at any batch size."""

import numpy as np
import pytest
import torch

import sta
from sta.models.configs import IMAGENET_MEAN as MEAN
from sta.models.configs import IMAGENET_STD as STD
from workers.inference import engine
from workers.inference.labeler import (
    Frames,
    IdMismatch,
    Labeler,
    LabelerConfig,
    pack_mask,
    unpack_mask,
)
from workers.inference.top_classes import top_classes
from workers.precisions import PRECISIONS
from workers.sampling import protocol

SIZE = 112


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    torch.manual_seed(0)
    model = sta.create_model("vit_demo", num_classes=6)
    path = tmp_path_factory.mktemp("model") / "random.safetensors"
    torch.nn.init.normal_(model.head.weight, std=2.0)
    sta.save_checkpoint(model, path, labels=list("abcdef"), origin="random")
    return str(path)


def unit(name, seed, *, height=SIZE, width=149, frames=20, clips=2):
    rng = np.random.default_rng(seed)
    return Frames(
        unit_id=name,
        pixels=rng.integers(0, 256, (frames, height, width, 3), dtype=np.uint8),
        clip_frames=rng.integers(0, frames, (clips, 16), dtype=np.int32),
    )


def labeler(checkpoint, *, batch_size=4, views=(2, 3), r=22, precision="float32"):
    config = LabelerConfig(
        checkpoint, pruning=sta.Pruning(r=r), batch_size=batch_size, precision=precision
    )
    return Labeler(config, protocol("videomae-k400", size=SIZE, views=views))


def by_hand(checkpoint, frames, clip, crop, r=22):
    """One view, cropped and normalized as the recipe says, one at a time."""
    recipe = protocol("videomae-k400", size=SIZE, views=(2, 3))
    pixels = frames.pixels[frames.clip_frames[clip]]
    top, left = recipe.crop_origins(*pixels.shape[1:3])[crop]
    square = pixels[:, top : top + SIZE, left : left + SIZE].astype(np.float32) / 255
    x = (square - np.array(MEAN, np.float32)) / np.array(STD, np.float32)
    model = sta.load_model(checkpoint, pruning=sta.Pruning(r=r))
    with torch.inference_mode():
        out = model(torch.from_numpy(x).permute(3, 0, 1, 2)[None])
    return out.logits.softmax(dim=-1)[0].numpy(), [mask[0].numpy() for mask in out.kept]


@pytest.mark.parametrize("shape", [(SIZE, 149), (199, SIZE), (SIZE, SIZE)])
def test_every_view_is_the_result_of_the_model_for_its_clip_and_crop(checkpoint, shape):
    frames = unit("u", 1, height=shape[0], width=shape[1])
    views = labeler(checkpoint).label([frames])[0].views
    assert [(view.clip, view.crop) for view in views] == [(c, s) for c in (0, 1) for s in (0, 1, 2)]
    for view in views:
        probabilities, kept = by_hand(checkpoint, frames, view.clip, view.crop)
        np.testing.assert_allclose(view.probabilities, probabilities, atol=1e-5)
        assert all(np.array_equal(a, b) for a, b in zip(view.kept, kept, strict=True))


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_unit_has_the_same_bits_whatever_it_shares_its_batches_with(checkpoint, precision):
    units = [unit(f"u{i}", i) for i in range(3)]
    made = labeler(checkpoint, batch_size=4, precision=precision)
    together = made.label(units)
    for alone, shared in zip((made.label([u])[0] for u in units), together, strict=True):
        for x, y in zip(alone.views, shared.views, strict=True):
            assert x.probabilities.tobytes() == y.probabilities.tobytes()
            assert all(np.array_equal(p, q) for p, q in zip(x.kept, y.kept, strict=True))


@pytest.mark.parametrize("batch_size", [1, 3, 16, 100])
def test_views_are_in_order_for_any_batch_size(checkpoint, batch_size):
    units = [unit(f"u{i}", i) for i in range(3)]
    want = labeler(checkpoint, batch_size=6).label(units)
    got = labeler(checkpoint, batch_size=batch_size).label(units)
    for a, b in zip(want, got, strict=True):
        for x, y in zip(a.views, b.views, strict=True):
            assert (x.clip, x.crop) == (y.clip, y.crop)
            np.testing.assert_allclose(x.probabilities, y.probabilities, atol=1e-2)


@pytest.mark.parametrize("batch_size", [1, 5, 64])
def test_units_of_any_number_of_clips_get_a_label_for_each_view(checkpoint, batch_size):
    units = [unit(f"u{clips}", clips, clips=clips) for clips in (1, 7, 2, 16)]
    made = labeler(checkpoint, batch_size=batch_size, views=(16, 3))
    labels = made.label(units)
    for frames, evaluated in zip(units, labels, strict=True):
        clips = range(len(frames.clip_frames))
        assert [(v.clip, v.crop) for v in evaluated.views] == [
            (c, s) for c in clips for s in (0, 1, 2)
        ]
    probabilities, _ = by_hand(checkpoint, units[1], 6, 2)
    np.testing.assert_allclose(labels[1].views[-1].probabilities, probabilities, atol=1e-5)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_two_runs_agree_bit_for_bit(checkpoint, precision):
    units = [unit(f"u{i}", i) for i in range(2)]
    first, second = (labeler(checkpoint, precision=precision).label(units) for _ in range(2))
    for a, b in zip(first, second, strict=True):
        for x, y in zip(a.views, b.views, strict=True):
            assert x.probabilities.tobytes() == y.probabilities.tobytes()
            assert [m.tobytes() for m in x.kept] == [m.tobytes() for m in y.kept]


@pytest.mark.parametrize(("r", "allowed"), [(0, 0.05), (22, 0.3)])
def test_in_bfloat16_probabilities_differ_by_its_rounding(checkpoint, r, allowed):
    """Of two tokens of noise with almost the same score, the other one may be kept."""
    frames = unit("u", 1)
    exact, rounded = (
        labeler(checkpoint, r=r, precision=each).label([frames])[0].views for each in PRECISIONS
    )
    for x, y in zip(exact, rounded, strict=True):
        assert x.probabilities.tobytes() != y.probabilities.tobytes()
        np.testing.assert_allclose(x.probabilities, y.probabilities, atol=allowed)
        for a, b in zip(x.kept, y.kept, strict=True):
            assert (a & b).sum() >= 0.8 * a.sum()


@pytest.mark.parametrize("has", [True, False])
def test_a_processor_without_instructions_computes_the_same_and_says_that_it_is_slow(
    checkpoint, monkeypatch, caplog, has
):
    frames = unit("u", 1)
    want = labeler(checkpoint, precision="bfloat16").label([frames])[0].views
    monkeypatch.setattr(engine, "has_bfloat16", lambda: has)
    got = labeler(checkpoint, precision="bfloat16").label([frames])[0].views
    assert [v.probabilities.tobytes() for v in got] == [v.probabilities.tobytes() for v in want]
    assert ("is slow on this processor" in caplog.text) != has


@pytest.mark.parametrize("precision", PRECISIONS)
def test_flops_are_counted_for_the_tokens_that_are_kept(checkpoint, precision):
    made = labeler(checkpoint, precision=precision)
    (labeled,) = made.label([unit("u", 0)])
    for number, stage in enumerate(made.model.stages):
        counts = {int(view.kept[number].sum()) for view in labeled.views}
        assert counts == {stage.groups * stage.kept}
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
        counted = sta.count_flops(made.model)
    assert {view.flops for view in labeled.views} == {counted}


def test_no_units_give_no_labels(checkpoint):
    assert labeler(checkpoint).label([]) == []


def test_a_batch_that_returns_other_ids_is_refused(checkpoint, monkeypatch):
    made = labeler(checkpoint, batch_size=4)
    step = made.engine.step

    def swapped():
        ids, *rest = step()
        return ids.flip(0), *rest

    monkeypatch.setattr(made.engine, "step", swapped)
    with pytest.raises(IdMismatch, match=r"views 0 to 3 returned the ids \[3, 2, 1, 0\]"):
        made.label([unit("u", 0)])


def test_a_batch_that_returns_the_scores_of_another_is_refused(checkpoint, monkeypatch):
    made = labeler(checkpoint, batch_size=6)
    stale = tuple(output.clone() for output in made.engine.step())
    made.label([unit("u", 0)])
    monkeypatch.setattr(made.engine, "step", lambda: stale)
    with pytest.raises(IdMismatch, match="views 6 to 11 returned"):
        made.label([unit("u", 0)])


def test_a_padded_view_that_returns_an_id_is_refused(checkpoint, monkeypatch):
    made = labeler(checkpoint, batch_size=8)
    step = made.engine.step

    def numbered():
        ids, *rest = step()
        return ids.clamp(min=0), *rest

    monkeypatch.setattr(made.engine, "step", numbered)
    with pytest.raises(IdMismatch, match="views 0 to 5 returned"):
        made.label([unit("u", 0)])


def test_kept_tokens_that_do_not_match_the_flops_are_refused(checkpoint, monkeypatch):
    made = labeler(checkpoint)
    forward = made.model.forward

    def wrong(clips):
        out = forward(clips)
        return out._replace(kept=tuple(mask & False for mask in out.kept))

    monkeypatch.setattr(made.model, "forward", wrong)
    with pytest.raises(RuntimeError, match="kept .* tokens of its views; its FLOPs are"):
        made.label([unit("u", 0)])


def test_a_protocol_that_does_not_fit_the_model_is_refused(checkpoint):
    with pytest.raises(ValueError, match="224 pixels; vit_demo takes 16 frames of 112 pixels"):
        Labeler(LabelerConfig(checkpoint), protocol("videomae-k400", size=224))


def test_weights_other_than_those_of_the_run_are_refused(checkpoint):
    config = LabelerConfig(checkpoint, fingerprint="sha256:other")
    with pytest.raises(ValueError, match="not other: the weights were replaced"):
        Labeler(config, protocol("videomae-k400", size=SIZE))


def test_top_classes_are_best_first_and_ties_go_to_the_lower_index():
    ids, scores = top_classes(np.array([0.1, 0.3, 0.1, 0.3, 0.2]), 3)
    assert ids == [1, 3, 4]
    assert scores == [0.3, 0.3, 0.2]


def test_packed_masks_unpack_to_themselves():
    mask = np.random.default_rng(0).random((8, 49)) < 0.5
    packed = pack_mask(mask)
    assert len(packed) == 49
    assert np.array_equal(unpack_mask(packed, (8, 49)), mask)
    odd = np.array([[True, False, True]])
    assert pack_mask(odd) == b"\xa0"
    assert np.array_equal(unpack_mask(b"\xa0", (1, 3)), odd)
