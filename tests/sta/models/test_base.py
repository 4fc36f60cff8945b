"""What the backbones share."""

import pytest
import torch
from torch import nn

from sta.models.base import embed_tubelets, tubelets_as_product


@pytest.mark.parametrize("tubelet", [(2, 16, 16), (2, 4, 4)], ids=["vit", "videoswin"])
def test_tubelets_are_embedded_the_same_by_convolution_and_by_matrix_product(tubelet):
    torch.manual_seed(0)
    conv = nn.Conv3d(3, 24, kernel_size=tubelet, stride=tubelet).double()
    clips = torch.randn(2, 3, 4, 32, 48, dtype=torch.float64)
    tokens = embed_tubelets(conv, clips)
    assert tokens.shape == (2, 2, 32 // tubelet[1], 48 // tubelet[2], 24)
    torch.testing.assert_close(tokens, conv(clips).permute(0, 2, 3, 4, 1), rtol=0, atol=1e-12)
    torch.testing.assert_close(tubelets_as_product(conv, clips), tokens, rtol=0, atol=1e-12)
