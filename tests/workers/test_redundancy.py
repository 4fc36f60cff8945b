"""The change of the picture: what it says, and what it does not notice."""

import numpy as np
import pytest

from workers.redundancy import BLOCK, block_means, changes
from workers.sampling import protocol
from workers.views import Frames

SIZE = 48
PROTOCOL = protocol("videomae-k400", size=SIZE, views=(2, 3))


def unit(pixels, clips=((0,) * 16, tuple(range(16)))):
    return Frames("id", pixels, np.array(clips, np.int32))


def noise(level, shape, seed=0):
    drawn = np.random.default_rng(seed).normal(128, level, shape)
    return np.clip(drawn, 0, 255).astype(np.uint8)


def test_block_means_are_those_of_numpy_and_leave_out_what_is_left_over():
    frames = np.random.default_rng(0).integers(0, 256, (3, 50, 40, 3), dtype=np.uint8)
    means = block_means(frames)
    assert means.shape == (3, 3, 2)
    assert means.dtype == np.float32
    for row in range(3):
        for column in range(2):
            y, x = row * BLOCK, column * BLOCK
            block = frames[:, y : y + BLOCK, x : x + BLOCK].astype(np.float64)
            np.testing.assert_allclose(means[:, row, column], block.mean((1, 2, 3)), rtol=1e-6)


def test_the_brightest_blocks_do_not_overflow():
    assert (block_means(np.full((1, 16, 32, 3), 255, np.uint8)) == 255).all()


def test_frames_smaller_than_a_block_are_refused():
    with pytest.raises(ValueError, match="16 x 16 pixels or more; got 15 x 40"):
        block_means(np.zeros((1, 15, 40, 3), np.uint8))


def test_a_still_picture_changes_by_nothing_and_a_flash_by_its_height():
    pixels = np.zeros((16, SIZE, 64, 3), np.uint8)
    pixels[1::2] = 10
    assert changes(unit(pixels), PROTOCOL).tolist() == [0, 0, 0, 10, 10, 10]


def test_a_view_counts_what_moves_within_its_own_crop():
    pixels = np.zeros((16, SIZE, 3 * SIZE, 3), np.uint8)
    pixels[1::2, :, -SIZE:] = 90
    left, middle, right = changes(unit(pixels), PROTOCOL)[3:]
    assert (left, middle, right) == (0, 0, 90)


def test_noise_averages_out_and_motion_does_not():
    still = changes(unit(noise(10, (16, SIZE, SIZE, 3))), PROTOCOL)[3]
    assert still < 1
    moving = np.zeros((16, SIZE, SIZE, 3), np.uint8)
    for frame in range(16):
        moving[frame, :, (3 * frame) % SIZE :][:, :12] = 200
    assert changes(unit(moving), PROTOCOL)[3] > 5 * still
