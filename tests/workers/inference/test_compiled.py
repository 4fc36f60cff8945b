"""The forward pass as one graph: the same labels, and a way on where it cannot be compiled."""

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch

import sta
from sta.models.configs import IMAGENET_MEAN as MEAN
from sta.models.configs import IMAGENET_STD as STD
from workers.inference.batching import BatchInput
from workers.inference.compiled import Step
from workers.inference.forward import Forward, FullPrecisionLinear, mixed_precision
from workers.inference.labeler import Frames, Labeler, LabelerConfig
from workers.inference.pixels import CachedNormalizer, normalized
from workers.inference.streams import HostStream
from workers.sampling import protocol


@pytest.fixture(autouse=True)
def _forgotten_graphs():
    """Torch gives up on code that it has compiled eight times over in one process."""
    yield
    torch.compiler.reset()


def tiny_vit(**pruning):
    torch.manual_seed(0)
    shape = sta.ViTConfig(embed_dim=32, depth=3, num_heads=2, frames=8, image_size=64)
    return sta.VisionTransformer(shape, num_classes=5, pruning=sta.Pruning(**pruning)).eval()


def tiny_swin(**pruning):
    torch.manual_seed(0)
    shape = sta.SwinConfig(
        embed_dim=24,
        depths=(2, 2, 2, 2),
        num_heads=(1, 2, 2, 2),
        window_size=(2, 3, 3),
        frames=4,
        image_size=64,
    )
    pruned = sta.Pruning(**pruning)
    return sta.VideoSwin(shape, num_classes=5, pruning=pruned, architecture="videoswin_tiny").eval()


def batch_for(model, stream, views=2):
    batch = BatchInput(
        stream, batch_size=views, frames=model.config.frames, size=model.config.image_size
    )
    batch.clips.random_(0, 256, generator=torch.Generator().manual_seed(1))
    batch.ids.copy_(torch.arange(views))
    return batch


def steps(model, **compiled):
    stream = HostStream()
    batch = batch_for(model, stream)
    whole = Forward(model, batch, mixed=False, whole=True)
    eager = Step(Forward(model, batch, mixed=False, whole=False), batch, stream, static=False)
    return whole, batch, stream, eager


@pytest.mark.slow
@pytest.mark.parametrize(
    "model",
    [
        tiny_vit(),
        tiny_vit(r=4),
        tiny_vit(r=4, grouping="paper", direction="BFB", similarity="ffn", first_frame="grid"),
        tiny_vit(r=4, score="random"),
        tiny_vit(r=4, score="semantics"),
        tiny_swin(),
        tiny_swin(r=20, window_attention="dense"),
    ],
    ids=lambda model: f"{type(model).__name__}-{model.pruning.r}-{model.pruning.score}",
)
def test_the_forward_pass_is_one_graph_that_reads_no_values(model):
    """What reads a value, or follows one, breaks the graph: `fullgraph` refuses that."""
    whole, batch, _, eager = steps(model)
    graph = torch.compile(whole, fullgraph=True, dynamic=False, backend="aot_eager")
    with torch.inference_mode():
        for output, want in zip(graph(batch.clips, batch.ids), eager(), strict=True):
            assert torch.equal(output, want)


@torch.inference_mode()
def test_mixed_precision_is_part_of_the_graph():
    model = tiny_vit(r=4)
    mixed_precision(model)
    batch = batch_for(model, HostStream())
    forward = Forward(model, batch, mixed=True, whole=True)
    graph = torch.compile(forward, fullgraph=True, dynamic=False, backend="aot_eager")
    want = forward(batch.clips, batch.ids)
    for output, expected in zip(graph(batch.clips, batch.ids), want, strict=True):
        assert torch.equal(output, expected)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler")
def test_a_compiled_forward_pass_says_what_the_model_says(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    shape = sta.ViTConfig(embed_dim=32, depth=1, num_heads=2, frames=4, image_size=64)
    torch.manual_seed(0)
    model = sta.VisionTransformer(
        shape, num_classes=5, pruning=sta.Pruning(r=1, grouping="paper")
    ).eval()
    whole, batch, stream, eager = steps(model)
    step = Step(whole, batch, stream, static=True)
    assert step.compiled
    for output, want in zip(step(), eager(), strict=True):
        torch.testing.assert_close(output, want)


@pytest.mark.slow
def test_without_a_compiler_a_labeler_says_so_in_one_line_and_labels(tmp_path, random_checkpoint):
    code = (
        "import sys; from workers.inference.labeler import *\n"
        "from workers.sampling import protocol\n"
        "p = protocol('videomae-k400', size=112, views=(1, 1))\n"
        f"c = LabelerConfig({str(random_checkpoint)!r}, batch_size=1, compile=True)\n"
        "print(Labeler(c, p).engine.step.compiled)"
    )
    absent = str(tmp_path / "no-compiler")
    environment = os.environ | {"CXX": absent, "TORCHINDUCTOR_CACHE_DIR": str(tmp_path)}
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout == "False\n"
    assert ran.stderr.startswith("torch.compile failed, running uncompiled: ")
    assert ran.stderr.count("\n") == 1


@pytest.fixture
def sparse_swin(monkeypatch):
    model = tiny_swin(r=20)
    monkeypatch.setattr(sta, "load_model", lambda *args, **kwargs: model)
    return model


SWIN_PROTOCOL = protocol("videoswin-k400", size=64, frames=4, views=(2, 3))


def test_sparse_windows_cannot_be_compiled(sparse_swin):
    config = LabelerConfig("tiny", pruning=sparse_swin.pruning, compile=True)
    with pytest.raises(ValueError, match="use window_attention='dense'"):
        Labeler(config, SWIN_PROTOCOL)


def test_sparse_windows_are_labeled_each_view_with_its_own_cost(sparse_swin):
    rng = np.random.default_rng(0)
    frames = Frames(
        "u",
        rng.integers(0, 256, (8, 64, 85, 3), dtype=np.uint8),
        np.arange(8, dtype=np.int32).reshape(2, 4),
    )
    made = Labeler(LabelerConfig("tiny", batch_size=4), SWIN_PROTOCOL)
    views = made.label([frames])[0].views
    kept = [
        torch.from_numpy(np.stack(masks)) for masks in zip(*(v.kept for v in views), strict=True)
    ]
    assert [view.flops for view in views] == sta.clip_flops(sparse_swin, kept)
    assert len({view.flops for view in views}) > 1


def test_pixels_are_scaled_to_one_and_normalized_the_same_to_the_bit_either_way():
    clips = torch.arange(2 * 4 * 8 * 4 * 3).remainder(256).to(torch.uint8).view(2, 4, 8, 4, 3)
    at_once = normalized(clips, torch.tensor(MEAN), torch.tensor(STD))
    assert torch.equal(CachedNormalizer(clips, MEAN, STD)(), at_once)
    by_hand = (clips[1, 2, 3, 1].double() / 255 - torch.tensor(MEAN)) / torch.tensor(STD)
    np.testing.assert_allclose(at_once[1, :, 2, 3, 1], by_hand, atol=1e-6)


def outputs(model, clips):
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        return model(clips)


@pytest.mark.parametrize("make", [tiny_vit, tiny_swin])
def test_weights_that_are_cast_once_give_what_autocast_gives(make):
    model, once = make(r=4), make(r=4)
    model.head = FullPrecisionLinear(model.head)
    mixed_precision(once)
    clips = torch.randn(2, *model.config.input_shape, generator=torch.Generator().manual_seed(2))
    want, got = outputs(model, clips), outputs(once, clips)
    assert all(torch.equal(a, b) for a, b in zip(want.kept, got.kept, strict=True))
    assert torch.equal(want.logits, got.logits)


def test_logits_keep_all_their_bits_under_mixed_precision():
    model = tiny_vit()
    mixed_precision(model)
    assert isinstance(model.head, FullPrecisionLinear)
    logits = outputs(model, torch.randn(2, *model.config.input_shape)).logits
    assert logits.dtype == torch.float32
    assert not torch.equal(logits, logits.to(torch.bfloat16).float())
    assert model.blocks[0].mlp.fc1.weight.dtype == torch.bfloat16
    assert model.fc_norm.weight.dtype == torch.float32
