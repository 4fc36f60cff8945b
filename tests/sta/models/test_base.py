"""What the backbones share."""

import pytest
import torch
from torch import nn

from sta.models.base import project_tubes, tubes_as_product


@pytest.mark.parametrize("tube", [(2, 16, 16), (2, 4, 4)], ids=["vit", "videoswin"])
def test_tubes_are_projected_alike_as_a_convolution_and_as_a_matrix_product(tube):
    torch.manual_seed(0)
    conv = nn.Conv3d(3, 24, kernel_size=tube, stride=tube).double()
    clips = torch.randn(2, 3, 4, 32, 48, dtype=torch.float64)
    tokens = project_tubes(conv, clips)
    assert tokens.shape == (2, 2, 32 // tube[1], 48 // tube[2], 24)
    torch.testing.assert_close(tokens, conv(clips).permute(0, 2, 3, 4, 1), rtol=0, atol=1e-12)
    torch.testing.assert_close(tubes_as_product(conv, clips), tokens, rtol=0, atol=1e-12)
