"""Small VideoSwins in float64 whose every parameter matters."""

import torch

import sta


def small_swin(pruning=None, *, classes=5, **shape):
    """A VideoSwin of 8 channels with weights large enough for attention to be far from even."""
    sizes = {
        "embed_dim": 8,
        "depths": (2, 2, 2, 2),
        "num_heads": (1, 2, 4, 8),
        "window_size": (4, 3, 3),
        "frames": 16,
        "image_size": 48,
    }
    config = sta.SwinConfig(**{**sizes, **shape})
    model = sta.VideoSwin(config, num_classes=classes, pruning=pruning).double().eval()
    stir(model)
    return model


def stir(model, seed=1):
    """Draws all parameters: biases and position biases of about 0.5, norms around 1."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1 and "table" not in name:
                spread = parameter[0].numel() ** -0.5
            else:
                spread = 0.5
            parameter.normal_(std=spread, generator=generator)
            if parameter.ndim == 1 and name.endswith("weight"):
                parameter.add_(1)


def clips(model, batch=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shape = (batch, *model.config.input_shape)
    dtype = next(model.parameters()).dtype
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)
