"""transformers' three video classifiers with few, random weights."""

import pytest
import torch

transformers = pytest.importorskip("transformers")
transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()

# 8 frames of 32 x 32 pixels: a grid of 4 x 4 x 4 tokens.
FRAMES, SIZE, GRID = 8, 32, (4, 16)
CLASSES = 5
_COMMON = {
    "hidden_size": 64,
    "num_hidden_layers": 6,
    "num_attention_heads": 4,
    "num_labels": CLASSES,
}


def videomae(**changes):
    given = _COMMON | {
        "image_size": SIZE,
        "patch_size": 8,
        "num_frames": FRAMES,
        "intermediate_size": 128,
    }
    return _random(
        transformers.VideoMAEForVideoClassification, transformers.VideoMAEConfig, given, changes
    )


def vjepa2(**changes):
    given = _COMMON | {
        "crop_size": SIZE,
        "patch_size": 8,
        "frames_per_clip": FRAMES,
        "mlp_ratio": 48 / 11,
        "num_pooler_layers": 2,
        "pred_hidden_size": 24,
        "pred_num_attention_heads": 2,
        "pred_num_hidden_layers": 1,
    }
    return _random(
        transformers.VJEPA2ForVideoClassification, transformers.VJEPA2Config, given, changes
    )


def vivit(**changes):
    given = _COMMON | {
        "image_size": SIZE,
        "tubelet_size": [2, 8, 8],
        "num_frames": FRAMES,
        "intermediate_size": 128,
    }
    return _random(
        transformers.VivitForVideoClassification, transformers.VivitConfig, given, changes
    )


MODELS = {"videomae": videomae, "vjepa2": vjepa2, "vivit": vivit}


def _random(model_class, config_class, given, changes):
    torch.manual_seed(0)
    model = model_class(config_class(**given | changes)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.2)
    return model


def clips(batch=2, *, frames=FRAMES, height=SIZE, width=SIZE, seed=1):
    """Random clips (B, T, C, H, W), each frame close to the one before."""
    generator = torch.Generator().manual_seed(seed)
    steps = torch.randn(batch, frames, 3, height, width, generator=generator)
    return steps[:, :1] + 0.3 * steps.cumsum(dim=1)
