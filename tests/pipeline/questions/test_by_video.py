"""A number for each of very many videos is found by the video's id."""

import math

import numpy as np

from pipeline.questions.by_video import ByVideo


def test_every_video_has_its_number_and_others_have_none():
    names = [f"d/{number}.mp4" for number in range(5_000)]
    numbers = ByVideo(zip(names, map(float, range(5_000)), strict=True))
    asked = [*reversed(names), "another", ""]
    found = numbers.of(asked, missing=math.nan)
    assert found[:-2].tolist() == list(range(4_999, -1, -1))
    assert np.isnan(found[-2:]).all()


def test_without_videos_nothing_is_found():
    assert ByVideo([]).of(["a"], missing=-1.0).tolist() == [-1.0]
    assert ByVideo([("a", 2.0)]).of([], missing=-1.0).shape == (0,)
