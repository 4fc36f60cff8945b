"""Features of labeled videos that are drawn from Gaussians, whose best accuracy is known."""

from __future__ import annotations

import math

import numpy as np

from pipeline.heads.samples import LabeledFeatures, Targets
from sta.heads import FeatureSpec

CHANNELS = 12


def spec(channels=CHANNELS):
    return FeatureSpec("sha256:backbone", "vit_demo", channels)


def features_of_videos(videos, *, views=2, spread=0.0, seed=0):
    """Views that scatter around the features (n, d) of videos."""
    count, channels = videos.shape
    noise = np.random.default_rng(seed).normal(size=(count * views, channels))
    return LabeledFeatures(
        tuple(f"v{number:04}" for number in range(count)),
        (np.repeat(videos, views, axis=0) + spread * noise).astype(np.float16),
        np.arange(count + 1) * views,
    )


def one_label(codes, classes=None):
    """One label per video, by number of its class."""
    count = int(max(codes)) + 1 if classes is None else classes
    matrix = np.zeros((len(codes), count), bool)
    matrix[np.arange(len(codes)), codes] = True
    return Targets(tuple(f"class {number:02}" for number in range(count)), matrix, "softmax")


def two_classes(count, *, apart=2.0, seed=0):
    """Two classes of equal size, whose means lie `apart` standard deviations from each other."""
    draw = np.random.default_rng(seed)
    codes = np.arange(count) % 2
    videos = draw.normal(size=(count, CHANNELS))
    videos[:, 0] += apart * (codes - 0.5)
    return features_of_videos(videos), one_label(codes)


def several_classes(count, classes, *, apart=3.0, channels=CHANNELS, seed=0, **views):
    """Classes of equal size with random means."""
    draw = np.random.default_rng(seed)
    means = draw.normal(size=(classes, channels)) * apart / math.sqrt(channels)
    codes = np.arange(count) % classes
    videos = means[codes] + draw.normal(size=(count, channels)) * 2 / math.sqrt(channels)
    return features_of_videos(videos, **views), one_label(codes)


def independent_labels(count, classes, *, seed=0):
    """Labels that each depend on one channel of their own."""
    draw = np.random.default_rng(seed)
    matrix = draw.random((count, classes)) < 0.4
    videos = draw.normal(size=(count, CHANNELS)) * 0.5
    videos[:, :classes] += 2.0 * matrix
    names = tuple(f"class {number:02}" for number in range(classes))
    return features_of_videos(videos), Targets(names, matrix, "sigmoid")


def best_accuracy(apart):
    """Of two Gaussians with their means so many standard deviations from each other."""
    return 0.5 * (1 + math.erf(apart / 2 / math.sqrt(2)))
