"""`sta.apply` on transformers' model gives what `sta.load_model` gives of the same checkpoint."""

import pytest
import torch

import sta
from sta.models.configs import ViTConfig
from tests.sta.hf.small_models import FRAMES, SIZE, clips, transformers, videomae, vivit, vjepa2

SHAPE = {"embed_dim": 64, "depth": 6, "num_heads": 4}
SHAPE |= {"frames": FRAMES, "image_size": SIZE, "patch_size": 8}
KNOWN = {
    "vit_toy": ViTConfig(**SHAPE, mlp_dim=128),
    "vjepa2_toy": ViTConfig(**SHAPE, mlp_dim=64 * 48 // 11, key_bias=True, backbone="vjepa2"),
    "vivit_toy": ViTConfig(
        **SHAPE, mlp_dim=128, activation="gelu_tanh", key_bias=True, backbone="vivit"
    ),
}


VJEPA2_GIANT = {
    "hidden_size": 1408,
    "num_hidden_layers": 40,
    "num_attention_heads": 22,
    "mlp_ratio": 48 / 11,
    "crop_size": 384,
}


def as_trained(**changes):
    """A VideoMAE whose norms have the epsilon of the published weights."""
    model = videomae(layer_norm_eps=1e-6, **changes)
    # transformers builds it with torch's own 1e-5.
    model.fc_norm.eps = 1e-6
    return model


MADE = {"videomae": as_trained, "vjepa2": lambda: vjepa2(num_pooler_layers=3), "vivit": vivit}


@pytest.mark.parametrize(
    "pruning",
    [
        sta.Pruning(r=4),
        sta.Pruning(r=5, grouping="paper"),
        sta.Pruning(r=4, similarity="ffn"),
        sta.Pruning(r=4, score="random"),
        sta.Pruning(r=4, first_frame="grid"),
    ],
    ids=str,
)
@pytest.mark.parametrize("name", MADE)
@torch.inference_mode()
def test_logits_kept_tokens_and_flops_are_the_same(name, pruning, tmp_path, monkeypatch):
    for known, shape in KNOWN.items():
        monkeypatch.setitem(sta.ARCHITECTURES, known, shape)
    theirs = MADE[name]()
    theirs.save_pretrained(tmp_path)
    given = clips(2)
    loaded = sta.load_model(tmp_path, pruning=pruning)
    ours = loaded(given.transpose(1, 2))
    sta.apply(theirs, pruning=pruning)
    logits = theirs(given).logits
    assert len(ours.kept) == len(theirs.sta.kept) == 3
    assert all(map(torch.equal, theirs.sta.kept, ours.kept))
    assert float((logits - ours.logits).abs().max()) < 1e-5
    assert float(logits.std()) > 0.1
    # transformers' ViViT normalizes every token in the end, where the class token is enough.
    more = 5 * 64 * int(ours.kept[-1][0].sum()) if name == "vivit" else 0
    assert theirs.sta.flops == sta.clip_flops(loaded, ours.kept)[0] + more


@pytest.mark.parametrize("name", ["vit_small", "vit_base"])
def test_the_default_of_videomae_at_224_pixels_is_the_papers(name):
    config = sta.architecture_config(name)
    shape = {
        "image_size": 224,
        "patch_size": 16,
        "num_frames": 16,
        "num_hidden_layers": 3,
        "hidden_size": config.embed_dim,
        "num_attention_heads": config.num_heads,
    }
    assert sta.apply(videomae(**shape)).sta.pruning == sta.default_pruning(name)


@pytest.mark.parametrize(
    ("name", "kind", "changes"),
    [
        ("vjepa2_large", "VJEPA2", {"frames_per_clip": 16}),
        ("vjepa2_giant", "VJEPA2", VJEPA2_GIANT),
        ("vivit_base", "Vivit", {}),
    ],
)
def test_the_default_is_that_of_the_architecture(name, kind, changes):
    config = getattr(transformers, f"{kind}Config")(num_labels=400, **changes)
    with torch.device("meta"):
        model = getattr(transformers, f"{kind}ForVideoClassification")(config)
    assert sta.apply(model).sta.pruning == sta.default_pruning(name)
    assert model.sta.unpruned_flops == pytest.approx(sta.estimate_flops(name), rel=1e-3)
