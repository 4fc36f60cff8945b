"""Videos as a short text."""

import numpy as np
import pytest

from pipeline.run.video_digests import digests_of, packed, unpacked


def test_a_text_holds_the_videos_whatever_their_order():
    names = [f"{number}.mp4" for number in range(100)]
    text = packed(names)
    assert text == packed(reversed(names)) == packed(names * 2)
    assert len(text) < 600
    assert np.isin(digests_of(names), unpacked(text)).all()
    assert not np.isin(digests_of(["another"]), unpacked(text)).any()


def test_no_videos_are_no_text():
    assert packed([]) == ""
    assert len(unpacked("")) == 0


def test_another_text_is_refused():
    with pytest.raises(ValueError, match=r"base64|multiple|padding|Only"):
        unpacked("no digests!")
