"""Means of videos are those of their views, whatever the batches and where the views stand."""

import numpy as np
import pytest

from pipeline.embeddings.read import EmbeddingBatch
from pipeline.embeddings.video_means import collected, means_of


def views(draw, videos, d=8):
    ids = [f"video-{each}" for each in videos]
    n = len(ids)
    numbers = np.zeros(n, np.int32)
    vectors = draw.normal(size=(n, d)).astype(np.float16)
    return EmbeddingBatch(ids, ids, numbers, numbers, np.zeros(n), np.zeros(n), vectors)


def divided(all_, cuts):
    for start, stop in zip([0, *cuts], [*cuts, len(all_)], strict=True):
        if stop > start:
            part = slice(start, stop)
            yield EmbeddingBatch(**{name: value[part] for name, value in vars(all_).items()})


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("spread", [False, True])
def test_means_are_those_of_the_views_whatever_the_batches(seed, spread):
    draw = np.random.default_rng(seed)
    videos = draw.integers(0, 9, 40)
    all_ = views(draw, videos if spread else np.sort(videos))
    cuts = sorted(draw.integers(0, 41, int(draw.integers(0, 12))).tolist())
    found = collected(means_of(divided(all_, cuts), spread=spread))
    ids = np.array(all_.video_ids)
    assert found.video_ids == list(dict.fromkeys(all_.video_ids))
    for video, mean in zip(found.video_ids, found.vectors, strict=True):
        expected = all_.vectors[ids == video].astype(np.float64).sum(axis=0) / (ids == video).sum()
        assert np.array_equal(mean, expected.astype(np.float16)) or np.allclose(
            mean, expected, rtol=1e-3
        )


def test_no_views_are_no_videos():
    assert len(collected(means_of([], spread=False))) == 0
    assert len(collected(means_of([], spread=True))) == 0
