"""ViViT: logits of transformers' own, by a plain reference when pruned, and its files."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import sta
from sta.models.configs import ViTConfig
from tests.sta.plain import plain_vit_logits
from workers.inference.pixels import normalized

transformers = pytest.importorskip("transformers")
transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()

SIZES = {"embed_dim": 48, "depth": 3, "num_heads": 4, "frames": 8, "image_size": 64}
THEIRS = {
    "image_size": 64,
    "num_frames": 8,
    "hidden_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 192,
    "num_labels": 3,
}
CLIPS = torch.randn(2, 3, 8, 64, 64, generator=torch.Generator().manual_seed(1))
HALF = (0.5, 0.5, 0.5)


@pytest.fixture(autouse=True)
def toy(monkeypatch):
    """A ViViT of few parameters, under a name of its own."""
    shape = ViTConfig(
        **SIZES, activation="gelu_tanh", key_bias=True, backbone="vivit", mean=HALF, std=HALF
    )
    monkeypatch.setitem(sta.ARCHITECTURES, "vivit_toy", shape)


def saved(folder, **changes):
    """transformers' model with random weights, and the directory that it was saved in."""
    torch.manual_seed(0)
    config = transformers.VivitConfig(**THEIRS | changes)
    theirs = transformers.VivitForVideoClassification(config).eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.normal_(std=0.2)
    theirs.save_pretrained(folder)
    return theirs


def edited(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


# A parameter as transformers writes it to files, and as its modules name it.
OLD = "vivit.encoder.layer.0.attention.attention.query.bias"
NEW = "vivit.layers.0.attention.q_proj.bias"


def written(folder, theirs, names):
    """Writes transformers' model under names of one kind."""
    path = folder / "model.safetensors"
    if names == "new":
        save_file(theirs.state_dict(), path)
        assert NEW in load_file(path)
        return
    tensors = load_file(path)
    assert OLD in tensors
    if names == "with a pooler":
        tensors["vivit.pooler.dense.weight"] = torch.randn(48, 48)
        tensors["vivit.pooler.dense.bias"] = torch.randn(48)
        save_file(tensors, path)


def model(**pruning):
    torch.manual_seed(0)
    made = sta.create_model("vivit_toy", num_classes=3, pruning=sta.Pruning(**pruning)).double()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.normal_(std=0.2)
    return made


@pytest.mark.parametrize("names", ["old", "new", "with a pooler"])
@torch.inference_mode()
def test_logits_are_those_of_transformers_on_the_same_files(tmp_path, names):
    theirs = saved(tmp_path)
    written(tmp_path, theirs, names)
    ours = sta.load_model(tmp_path)
    assert ours.architecture == "vivit_toy"
    want = theirs(CLIPS.transpose(1, 2)).logits
    assert float((ours(CLIPS).logits - want).abs().max()) < 1e-5
    assert float(want.std()) > 0.1


@pytest.mark.slow
@torch.inference_mode()
def test_logits_of_vivit_base_are_those_of_transformers(tmp_path):
    torch.manual_seed(0)
    config = transformers.VivitConfig(num_labels=400)
    theirs = transformers.VivitForVideoClassification(config).eval()
    for name, parameter in theirs.named_parameters():
        if name.endswith("bias") or "embeddings" in name:
            parameter.normal_(std=0.2)
        elif "weight" in name and parameter.ndim > 1:
            parameter.normal_(std=0.03)
    theirs.save_pretrained(tmp_path)
    ours = sta.load_model(tmp_path)
    assert ours.architecture == "vivit_base"
    clip = torch.randn(1, 3, 32, 224, 224, generator=torch.Generator().manual_seed(1))
    want = theirs(clip.transpose(1, 2)).logits
    assert float((ours(clip).logits - want).abs().max()) < 1e-5
    assert float(want.std()) > 0.1


@pytest.mark.parametrize(
    "pruning",
    [{"r": 4}, {"r": 5, "grouping": "paper"}, {"r": 4, "direction": "BFB", "temperature": 0.1}],
    ids=str,
)
@torch.inference_mode()
def test_pruned_logits_are_those_of_a_plain_reference(pruning):
    pruned, clips = model(**pruning), CLIPS.double()
    out = pruned(clips)
    torch.testing.assert_close(out.logits, plain_vit_logits(pruned, clips), atol=1e-10, rtol=0)
    assert (out.logits - model()(clips).logits).abs().max() > 1e-3
    assert [int(mask[0].sum()) for mask in out.kept] == [s.groups * s.kept for s in pruned.stages]


@torch.inference_mode()
def test_unpruned_logits_are_those_of_the_plain_reference_too():
    clips = CLIPS.double()
    torch.testing.assert_close(
        model()(clips).logits, plain_vit_logits(model(), clips), atol=1e-10, rtol=0
    )


@torch.inference_mode()
def test_r_0_is_the_unpruned_model_bit_for_bit():
    assert torch.equal(model(r=0)(CLIPS.double()).logits, model()(CLIPS.double()).logits)


@pytest.mark.parametrize("convention", ["fvcore", "macs"])
@pytest.mark.parametrize("r", [0, 4])
def test_flops_are_counted_and_stand_in_closed_form(r, convention):
    made = model(r=r).float()
    said = sta.estimate_flops(
        "vivit_toy", pruning=made.pruning, num_classes=3, convention=convention
    )
    assert sta.count_flops(made, convention=convention) == said


def test_vivit_base_has_the_published_flops_and_half_of_them_by_default():
    # 455.2 GFLOPs in Table 2 of ViViT, which counts more than products.
    flops = sta.estimate_flops("vivit_base", convention="macs")
    assert flops / 1e9 == pytest.approx(455.2, rel=0.02)
    pruned = sta.estimate_flops("vivit_base", pruning=sta.default_pruning("vivit_base"))
    assert pruned / sta.estimate_flops("vivit_base") == pytest.approx(0.5, abs=0.01)


def test_its_own_files_are_read_again(tmp_path):
    made = model(r=4).float()
    sta.save_checkpoint(made, tmp_path / "own.safetensors", labels=list("abc"), origin="a test")
    loaded = sta.load_model(tmp_path / "own.safetensors", pruning=made.pruning)
    assert (loaded.architecture, loaded.labels) == ("vivit_toy", ("a", "b", "c"))
    assert torch.equal(loaded(CLIPS).logits, made(CLIPS).logits)


@torch.inference_mode()
def test_the_configuration_is_followed(tmp_path):
    theirs = saved(tmp_path, hidden_act="gelu", layer_norm_eps=1e-3, num_attention_heads=6)
    edited(tmp_path, video_size=[8, 64, 64], image_size=[64, 64])
    ours = sta.load_model(tmp_path)
    assert (ours.config.activation, ours.config.norm_eps, ours.config.num_heads) == (
        "gelu",
        1e-3,
        6,
    )
    want = theirs(CLIPS.transpose(1, 2)).logits
    assert float((ours(CLIPS).logits - want).abs().max()) < 1e-5


@torch.inference_mode()
def test_a_model_without_biases_of_its_projections_is_loaded(tmp_path):
    theirs = saved(tmp_path, qkv_bias=False)
    want = theirs(CLIPS.transpose(1, 2)).logits
    assert float((sta.load_model(tmp_path)(CLIPS).logits - want).abs().max()) < 1e-5


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("tubelet_size", [4, 16, 16]), ("tubelet_size", 2), ("tubelet_size", [2, 16, 32])),
        *(("hidden_size", 96), ("num_hidden_layers", 4), ("intermediate_size", 96)),
        *(("num_channels", 1), ("hidden_act", "mish"), ("num_attention_heads", 5)),
        *(("image_size", [64, 32]), ("video_size", [8, 64, 32]), ("video_size", 8)),
        *(("layer_norm_eps", 2), ("num_labels", 5), ("something_new", 1)),
    ],
)
def test_what_a_configuration_says_and_cannot_be_followed_is_refused_by_name(
    tmp_path, field, value
):
    saved(tmp_path)
    edited(tmp_path, **{field: value})
    with pytest.raises(sta.CheckpointError, match=f"config.json: {field} is "):
        sta.load_model(tmp_path)


@pytest.mark.parametrize(
    "changes", [{"num_frames": 16}, {"image_size": 128}, {"video_size": [8, 128, 128]}], ids=str
)
def test_clips_that_the_learned_positions_do_not_fit_are_refused(tmp_path, changes):
    saved(tmp_path)
    edited(tmp_path, **changes)
    with pytest.raises(sta.CheckpointError, match=r"pos_embed has shape \(1, 65, 48\) where"):
        sta.load_model(tmp_path)


def test_a_file_of_the_encoder_alone_is_refused(tmp_path):
    saved(tmp_path).vivit.save_pretrained(tmp_path)
    with pytest.raises(sta.CheckpointError):
        sta.load_model(tmp_path)


@pytest.mark.parametrize("changes", [{}, {"do_normalize": False}], ids=str)
def test_pixels_are_those_of_transformers_processor(tmp_path, changes):
    saved(tmp_path)
    processor = transformers.VivitImageProcessor(
        size={"shortest_edge": 73}, crop_size={"height": 64, "width": 64}, **changes
    )
    processor.save_pretrained(tmp_path)
    config = sta.load_model(tmp_path).config
    drawn = np.random.default_rng(0).integers(0, 256, (8, 64, 64, 3), dtype=np.uint8)
    want = processor(list(drawn), return_tensors="pt", do_resize=False).pixel_values
    ours = normalized(torch.from_numpy(drawn)[None], *map(torch.tensor, (config.mean, config.std)))
    torch.testing.assert_close(ours.transpose(1, 2), want.float(), atol=1e-5, rtol=0)


def test_a_processors_other_steps_are_checked(tmp_path):
    saved(tmp_path)
    transformers.VivitImageProcessor(
        size={"shortest_edge": 64}, crop_size={"height": 64, "width": 64}
    ).save_pretrained(tmp_path)
    with pytest.raises(sta.CheckpointError, match=r"the pipeline does {'shortest_edge': 73}"):
        sta.load_model(tmp_path)
