"""`sta.apply` and `torch.compile`."""

import pytest
import torch

import sta
from tests.sta.hf.small_models import MODELS, clips, videomae, vjepa2


def logits(model, given):
    with torch.inference_mode():
        return model(given).logits


@pytest.fixture(autouse=True)
def compiling():
    torch.compiler.reset()
    yield
    torch.compiler.reset()


@pytest.mark.parametrize("name", MODELS)
def test_a_compiled_model_is_one_graph_with_the_same_results(name):
    model = sta.apply(MODELS[name](), r=4)
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    for given in (clips(), clips(seed=2), clips(3)):
        wanted = logits(model, given)
        kept, model.sta.kept = model.sta.kept, ()
        assert torch.allclose(logits(compiled, given), wanted, atol=1e-5)
        assert all(map(torch.equal, model.sta.kept, kept))
        assert [mask.shape for mask in model.sta.kept] == [(len(given), 4, 16)] * 3


def test_a_compiled_function_around_the_model_is_one_graph():
    model = sta.apply(vjepa2(), r=4)
    wanted = logits(model, clips())
    kept, model.sta.kept = model.sta.kept, ()
    call = torch.compile(lambda given: model(given).logits, fullgraph=True, backend="eager")
    with torch.inference_mode():
        assert torch.allclose(call(clips()), wanted, atol=1e-5)
    assert all(map(torch.equal, model.sta.kept, kept))
    assert len(model.sta.kept) == 3


def test_a_compiled_model_follows_other_settings_and_remove():
    model = videomae()
    unpruned = logits(model, clips())
    compiled = torch.compile(sta.apply(model, r=4), backend="eager")
    first = logits(compiled, clips())
    sta.apply(model, r=2)
    assert torch.allclose(logits(compiled, clips()), logits(model, clips()), atol=1e-5)
    assert not torch.allclose(logits(compiled, clips()), first, atol=1e-3)
    sta.remove(model)
    assert torch.allclose(logits(compiled, clips()), unpruned, atol=1e-5)


def test_a_model_that_was_compiled_before_is_refused_at_the_call():
    model = videomae()
    compiled = torch.compile(model, backend="eager")
    logits(compiled, clips())
    sta.apply(model, r=4)
    with pytest.raises(RuntimeError, match="compiled before sta.apply"):
        logits(compiled, clips())
    torch.compiler.reset()
    assert torch.allclose(logits(compiled, clips()), logits(model, clips()), atol=1e-5)
    assert len(model.sta.kept) == 3


def test_layers_that_are_compiled_one_by_one_are_refused_at_the_call():
    model = sta.apply(videomae(), r=4)
    for layer in model.videomae.encoder.layer:
        layer.compile(backend="eager")
    with pytest.raises(RuntimeError, match="its layers one by one"):
        logits(model, clips())
