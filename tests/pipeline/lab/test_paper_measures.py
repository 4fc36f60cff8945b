"""The paper's measures on a model and videos: equations 6 and 7, and what is left out."""

import numpy as np
import pytest
import torch

import sta
from pipeline.errors import UsageError
from pipeline.lab.paper_measures import (
    ClipSample,
    MeasureOptions,
    Models,
    grad_norm_table,
    grad_norms,
    read_sample,
    trajectory_sums,
    trajectory_table,
)
from sta.diagnostics import grad_norm
from sta.models.configs import IMAGENET_MEAN as MEAN
from sta.models.configs import IMAGENET_STD as STD
from tests.videos import write_video


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """Two videos, one of them with a label, and a file that is no video."""
    folder = tmp_path_factory.mktemp("archive")
    for number in range(2):
        write_video(folder / f"{number}.mp4", frames=70)
    (folder / "text.mp4").write_text("no video")
    label = sta.load_model("demo").labels[3]
    lines = ["uri,label", f"0.mp4,{label}", "1.mp4,", "text.mp4,"]
    (folder / "manifest.csv").write_text("\n".join(lines))
    return str(folder / "manifest.csv")


@pytest.fixture(scope="module")
def models(archive):
    return Models.load(MeasureOptions(archive, "demo"))


@pytest.fixture(scope="module")
def sample(archive, models):
    return read_sample(MeasureOptions(archive, "demo"), models.unpruned)


def batch(clip):
    """As VideoMAE's own evaluation makes it."""
    pixels = (clip / 255 - np.array(MEAN)) / np.array(STD)
    return torch.from_numpy(pixels).float().permute(3, 0, 1, 2)[None]


def test_each_video_gives_one_view_and_what_is_no_video_is_counted(sample):
    assert [clip.shape for clip in sample.clips] == [(16, 112, 112, 3)] * 2
    assert sorted(sample.ground_truths, key=str) == [None, sta.load_model("demo").labels[3]]
    assert sample.failed == 1


def test_the_models_differ_in_their_pruning_alone(models):
    assert (models.unpruned.pruning.r, models.random.pruning.r, models.sta.pruning.r) == (0, 22, 22)
    assert (models.random.pruning.score, models.sta.pruning.score) == ("random", "sta")
    assert models.unpruned.fingerprint == models.random.fingerprint == models.sta.fingerprint


def test_a_still_picture_has_the_largest_trajectory_sum_and_noise_less(models):
    draw = np.random.default_rng(0)
    noise = draw.integers(0, 256, (16, 112, 112, 3), np.uint8)
    still = np.repeat(noise[:1], 16, axis=0)
    sums = trajectory_sums(models, ClipSample((still, noise), (None, None), 0))
    assert sums.shape == (2, 3)
    assert (sums <= 7 + 1e-4).all()
    assert sums[0, 0] > sums[1, 0]


def test_a_video_that_loses_a_whole_frame_has_no_trajectory_sum(models, sample, monkeypatch):
    def emptied(model, clips):
        kept = torch.ones(1, 8, 49, dtype=torch.bool)
        kept[0, 4] = model is not models.sta
        return torch.ones(1, 8, 49, 2), kept

    monkeypatch.setattr("pipeline.lab.paper_measures.final_tokens", emptied)
    assert trajectory_sums(models, sample).shape == (0, 3)


def test_grad_norm_is_shared_by_what_the_pruned_model_keeps(models, sample):
    found = grad_norms(models, sample)
    assert found.ground_truths == 1
    assert found.kept == pytest.approx((27 / 49, 16 / 49, 10.5 / 49))
    for number, clip in enumerate(sample.clips):
        clips = batch(clip)
        with torch.no_grad():
            own = models.unpruned(clips).logits.argmax(dim=1)
        label = own if sample.ground_truths[number] is None else torch.tensor([3])
        norms = grad_norm(models.unpruned, clips, label)
        for model, shares in ((models.random, found.random), (models.sta, found.sta)):
            with torch.no_grad():
                kept = model(clips).kept
            expected = [float(norms[mask].sum() / norms.sum()) for mask in kept]
            assert shares[number] == pytest.approx(expected, rel=1e-3)


def test_the_tables_say_what_they_are_of(archive):
    options = MeasureOptions(archive, "demo", r=20, videos=3)
    for table, names in (
        (trajectory_table, ("equation 6, Table 1", "STA less random", "4.43  4.74  4.28  4.78")),
        (grad_norm_table, ("equation 7, Figure 3", "true label of 1 video;", "by random")),
    ):
        said = table(options)
        for words in (*names, "vit_demo (demo), r = 20", "2 videos (1 could not be decoded)"):
            assert words in said


def test_what_cannot_be_measured_is_refused(archive, tmp_path, monkeypatch):
    with pytest.raises(UsageError, match="--videos must be 1 or more; got 0"):
        MeasureOptions(archive, "demo", videos=0)
    with pytest.raises(UsageError, match="--r must be 1 or more"):
        MeasureOptions(archive, "demo", r=0)
    with pytest.raises(ValueError, match="the largest r for this model is 24"):
        Models.load(MeasureOptions(archive, "demo", r=400))
    swin = sta.create_model("videoswin_tiny", num_classes=2)
    monkeypatch.setattr(sta, "load_model", lambda *_, **__: swin)
    with pytest.raises(UsageError, match="measure a ViT; some.pth is videoswin_tiny"):
        Models.load(MeasureOptions(archive, "some.pth"))


def test_an_input_without_a_video_that_can_be_decoded_is_refused(tmp_path, models):
    options = MeasureOptions(str(tmp_path), "demo")
    with pytest.raises(UsageError, match="it holds none"):
        read_sample(options, models.unpruned)
    (tmp_path / "a.mp4").write_text("no video")
    with pytest.raises(UsageError, match="none can be decoded; .*a.mp4"):
        read_sample(options, models.unpruned)
