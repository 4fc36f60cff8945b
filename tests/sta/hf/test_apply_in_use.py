"""A pruned model in what users put around it: training, evaluation, threads, replicas."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

import sta
from tests.sta.hf.small_models import CLASSES, MODELS, clips, transformers, videomae, vjepa2

LABELS = torch.tensor([1, 3])


@pytest.fixture(params=MODELS)
def model(request):
    return sta.apply(MODELS[request.param](), r=4)


def gradients(model):
    model.zero_grad()
    model(clips(), labels=LABELS).loss.backward()
    return {
        name: each.grad.clone() for name, each in model.named_parameters() if each.grad is not None
    }


def test_the_loss_is_that_of_the_logits(model):
    out = model(clips(), labels=LABELS)
    assert torch.allclose(out.loss, torch.nn.functional.cross_entropy(out.logits, LABELS))
    as_tuple = model(clips(), labels=LABELS, return_dict=False)
    assert torch.equal(as_tuple[1], out.logits)


def test_it_trains(model):
    model.train()
    found = gradients(model)
    layers = f"{model.sta._supported.layers}."
    assert {each.removeprefix(layers)[0] for each in found if each.startswith(layers)} == set(
        "012345"
    )
    assert all(each.isfinite().all() for each in found.values())


@pytest.mark.parametrize("reentrant", [True, False])
def test_gradient_checkpointing_gives_the_same_gradients(model, reentrant):
    model.train()
    wanted = gradients(model)
    kept = model.sta.kept
    model.gradient_checkpointing_enable({"use_reentrant": reentrant})
    model.enable_input_require_grads()
    found = gradients(model)
    assert found.keys() == wanted.keys()
    for name, each in found.items():
        assert torch.allclose(each, wanted[name], rtol=1e-3, atol=1e-4), name
    assert all(map(torch.equal, model.sta.kept, kept))
    assert model.sta._thread.current is None


@pytest.mark.parametrize("name", MODELS)
def test_a_failed_pass_leaves_nothing_behind(name):
    model = sta.apply(MODELS[name](), r=4)
    last = model.get_submodule(model.sta._supported.layers)[-1]

    def fail(*_):
        raise RuntimeError("broken layer")

    handle = last.register_forward_hook(fail)
    with pytest.raises(RuntimeError, match="broken layer"):
        model(clips())
    handle.remove()
    assert model.sta._thread.current is None
    assert model.sta.kept == ()
    backbone = getattr(model, model.base_model_prefix)
    arguments = {"skip_predictor": True} if name == "vjepa2" else {}
    with torch.no_grad():
        assert backbone(clips(), **arguments).last_hidden_state.shape[1] in (64, 65)


@pytest.mark.parametrize("wrong", [torch.zeros(2, 3), None], ids=["shape", "None"])
def test_wrong_clips_get_the_models_own_error(model, wrong):
    def error():
        with pytest.raises((ValueError, AttributeError, IndexError, RuntimeError)) as raised:
            model(wrong)
        return type(raised.value), str(raised.value)

    pruned = error()
    sta.remove(model)
    assert error() == pruned


def test_an_evaluation_as_trainer_does_it(model):
    """What Trainer's loop does with a batch; Trainer itself needs accelerate (next test)."""
    found, losses = [], []
    model.eval()
    for seed in range(3):
        inputs = {model.main_input_name: clips(2, seed=seed), "labels": LABELS}
        with torch.no_grad():
            outputs = model(**inputs)
        losses.append(outputs["loss"].mean().detach())
        (logits,) = (each.detach() for name, each in outputs.items() if name != "loss")
        found.append(logits)
    assert torch.cat(found).shape == (6, CLASSES)
    assert torch.stack(losses).isfinite().all()


def test_trainer_evaluates_it(model, tmp_path):
    pytest.importorskip("accelerate")
    data = [
        {model.main_input_name: clips(1, seed=seed)[0], "labels": seed % CLASSES}
        for seed in range(4)
    ]
    arguments = transformers.TrainingArguments(
        str(tmp_path), per_device_eval_batch_size=2, use_cpu=True, report_to=[]
    )
    trainer = transformers.Trainer(model=model, args=arguments, eval_dataset=data)
    assert 0 < trainer.evaluate()["eval_loss"] < 100
    pruned = trainer.predict(data)
    assert pruned.predictions.shape == (4, CLASSES)
    assert len(model.sta.kept) == 3
    with torch.no_grad():
        expected = model(torch.stack([each[model.main_input_name] for each in data])).logits
    assert torch.allclose(torch.tensor(pruned.predictions), expected, atol=1e-4)


def test_two_models_at_once():
    first, second = (
        sta.apply(made(), r=r) for made, r in zip((videomae, vjepa2), (4, 6), strict=True)
    )
    with torch.no_grad():
        alone = [each(clips()).logits for each in (first, second)]
        masks = [each.sta.kept for each in (first, second)]
        # One runs inside of the other.
        inner = []
        handle = first.get_submodule(first.sta._supported.layers)[2].register_forward_hook(
            lambda *_: inner.append(second(clips()).logits)
        )
        outer = first(clips()).logits
        handle.remove()
    assert torch.equal(outer, alone[0])
    assert torch.equal(inner[0], alone[1])
    for model, kept in zip((first, second), masks, strict=True):
        assert all(map(torch.equal, model.sta.kept, kept))


def test_threads_share_a_model(model):
    """Passes that overlap layer by layer do not mix; a barrier makes them overlap."""
    barrier = threading.Barrier(2, timeout=60)
    given = [clips(1, seed=1), clips(3, seed=2)]
    with torch.no_grad():
        alone = [model(each).logits for each in given]
    handles = [
        layer.register_forward_pre_hook(lambda *_: print(end="") if barrier.wait() else None)
        for layer in model.get_submodule(model.sta._supported.layers)
    ]

    @torch.no_grad()
    def run(each):
        return model(each).logits

    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(run, given))
    for handle in handles:
        handle.remove()
    for one, other in zip(together, alone, strict=True):
        assert torch.allclose(one, other, atol=1e-5)
    assert {mask.shape[0] for mask in model.sta.kept} in ({1}, {3})


def replica(module, made):
    """A replica as torch.nn.DataParallel makes one, with copies of the weights."""
    if module in made:
        return made[module]
    other = made[module] = module._replicate_for_data_parallel()
    for name, child in module._modules.items():
        setattr(other, name, None if child is None else replica(child, made))
    for name, parameter in module._parameters.items():
        setattr(other, name, None if parameter is None else parameter.detach().clone())
    for name, buffer in module._buffers.items():
        other._buffers[name] = None if buffer is None else buffer.clone()
    return other


def test_replicas_in_threads_use_their_own_weights(model):
    given = clips(2)
    with torch.no_grad():
        wanted = model(given).logits
        replicas = [replica(model, {}) for _ in given]
        # What the hooks would read of the original is no number any more.
        for parameter in model.parameters():
            parameter.fill_(torch.nan)

    @torch.no_grad()
    def run(pair):
        return pair[0](pair[1][None]).logits[0]

    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(run, zip(replicas, given, strict=True)))
    assert torch.allclose(torch.stack(found), wanted, atol=1e-5)


def test_hooks_of_others_stay_and_see_the_kept_tokens():
    model = MODELS["videomae"]()
    layer = model.videomae.encoder.layer[0]
    seen = []
    handle = layer.register_forward_hook(lambda module, args, out: seen.append(out.shape[1]))
    sta.apply(model, r=4)
    with torch.no_grad():
        model(clips())
        sta.remove(model)(clips())
    assert seen == [48, 64]
    assert handle.id in layer._forward_hooks
