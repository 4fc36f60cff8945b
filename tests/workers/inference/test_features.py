"""What the head sees is kept with a view, and another head classifies just that."""

import dataclasses

import numpy as np
import pytest
import torch

import sta
from sta.heads import FeatureSpec, LinearHead
from tests.workers.inference.test_labeler import SIZE, checkpoint, unit
from tests.workers.test_sweep_actor import TailDrop
from workers.inference.adaptive import AdaptiveLabeler
from workers.inference.early_exit import EarlyExit
from workers.inference.labeler import Labeler, LabelerConfig
from workers.precisions import PRECISIONS
from workers.sampling import protocol

__all__ = ["checkpoint"]

UNITS = [unit("u0", 0), unit("u1", 1, clips=1), unit("u2", 2)]


def evaluated(checkpoint, *, views=(2, 3), early_exit=None, **config):
    config = LabelerConfig(checkpoint, pruning=sta.Pruning(r=22), batch_size=4, **config)
    recipe = protocol("videomae-k400", size=SIZE, views=views)
    if early_exit is not None:
        return AdaptiveLabeler(config, recipe, early_exit).label(UNITS[::2])
    return Labeler(config, recipe).label(UNITS)


def own_head(checkpoint, rows=slice(None), **more):
    model = sta.load_model(checkpoint)
    return LinearHead(
        weight=model.head.weight.detach().numpy()[rows].copy(),
        bias=model.head.bias.detach().numpy()[rows].copy(),
        labels=tuple(model.labels[rows]),
        features=FeatureSpec("sha256:0", "vit_demo", model.head.in_features),
        **more,
    )


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_model_s_head_on_the_features_gives_the_view_s_probabilities(checkpoint, precision):
    head = own_head(checkpoint)
    for result in evaluated(checkpoint, embeddings=True, precision=precision):
        features = np.stack([view.features for view in result.views])
        assert features.dtype == np.float16
        np.testing.assert_allclose(
            head.probabilities(features), result.probabilities(), atol=2e-2, rtol=0
        )


def test_asking_for_features_changes_no_bit_of_the_rest(checkpoint):
    plain, asked = evaluated(checkpoint), evaluated(checkpoint, embeddings=True)
    for one, other in zip(plain, asked, strict=True):
        assert all(view.features is None for view in one.views)
        assert np.array_equal(one.probabilities(), other.probabilities())
        assert one.flops == other.flops


def test_features_of_a_unit_do_not_depend_on_what_shares_its_batches(checkpoint):
    together = evaluated(checkpoint, embeddings=True)[2].views
    config = LabelerConfig(checkpoint, pruning=sta.Pruning(r=22), batch_size=4, embeddings=True)
    recipe = protocol("videomae-k400", size=SIZE, views=(2, 3))
    alone = Labeler(config, recipe).label(UNITS[2:])[0].views
    for one, other in zip(together, alone, strict=True):
        assert np.array_equal(one.features, other.features)


@pytest.mark.parametrize("kind", ["softmax", "sigmoid"])
def test_a_head_classifies_the_features_to_the_bit_and_its_flops_are_counted(checkpoint, kind):
    head = own_head(checkpoint, slice(1, 4), kind=kind, temperature=0.5)
    stored = evaluated(checkpoint, embeddings=True)
    fresh = evaluated(checkpoint, head=head)
    for one, other in zip(stored, fresh, strict=True):
        features = np.stack([view.features for view in one.views])
        assert np.array_equal(head.probabilities(features), other.probabilities())
        assert other.flops == one.flops + len(one.views) * head.flops
        assert all(view.features is None for view in other.views)


def test_early_exit_goes_by_the_head_s_margins(checkpoint):
    head = own_head(checkpoint, slice(0, 2))
    every = evaluated(checkpoint, head=head, early_exit=EarlyExit(np.inf))
    first = evaluated(checkpoint, head=head, early_exit=EarlyExit(0.0), embeddings=True)
    for all_views, one_view in zip(every, first, strict=True):
        assert (len(all_views.views), len(one_view.views)) == (6, 1)
        assert one_view.margins == all_views.margins[:1]
        assert one_view.views[0].features is not None


def test_features_beyond_float16_become_its_largest_values(checkpoint, tmp_path):
    model = sta.load_model(checkpoint)
    with torch.no_grad():
        model.fc_norm.weight.fill_(1e6)
    sta.save_checkpoint(model, tmp_path / "wide.safetensors", labels=model.labels, origin="test")
    for result in evaluated(str(tmp_path / "wide.safetensors"), embeddings=True):
        for view in result.views:
            assert np.isfinite(view.features).all()
            assert np.abs(view.features).max() == np.finfo(np.float16).max


def test_methods_without_features_are_refused(checkpoint):
    config = LabelerConfig(checkpoint, reduction=TailDrop(7))
    for asked in ({"embeddings": True}, {"head": own_head(checkpoint)}):
        with pytest.raises(ValueError, match="gives no features"):
            dataclasses.replace(config, **asked)


@pytest.mark.parametrize("name", ["vit_demo", "swin_tiny"])
def test_the_features_of_every_kind_of_model_are_what_its_head_sees(name):
    if name == "swin_tiny":
        from tests.sta.swin_models import clips, small_swin

        model = small_swin().eval()
        given = clips(model)
    else:
        model = sta.create_model(name, num_classes=3, pruning=sta.Pruning(r=22)).eval()
        given = torch.randn(2, *model.config.input_shape)
    seen = []
    model.head.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    out = model(given)
    assert torch.equal(out.features, seen[0])
    assert out.features.shape == (2, model.head.in_features)
