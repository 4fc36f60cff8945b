"""`sta.apply` gives what a plain frame-by-frame implementation gives, in float64."""

import pytest
import torch

import sta
from tests.sta.hf.plain_models import SETTINGS, plain_forward
from tests.sta.hf.small_models import MODELS, clips, vjepa2


@pytest.fixture(scope="module", params=MODELS)
def model(request):
    return MODELS[request.param]().double()


@torch.no_grad()
def test_the_plain_form_is_the_model_where_nothing_is_pruned(model):
    given = clips(1).double()
    wanted = sta.remove(model)(given).logits[0]
    assert torch.allclose(plain_forward(model, given[0], sta.Pruning()).logits, wanted, atol=1e-10)
    assert wanted.std() > 0.1


@pytest.mark.parametrize("pruning", SETTINGS, ids=str)
@torch.no_grad()
def test_logits_and_kept_tokens_are_those_of_the_plain_form(model, pruning):
    given = clips(2).double()
    sta.apply(model, pruning=pruning)
    logits = model(given).logits
    plain = [plain_forward(model, clip, pruning) for clip in given]
    for index, one in enumerate(plain):
        assert [mask[index].tolist() for mask in model.sta.kept] == [
            mask.tolist() for mask in one.masks
        ]
        assert torch.allclose(logits[index], one.logits, atol=1e-9)


@torch.no_grad()
def test_hidden_states_are_the_tokens_that_the_next_layer_gets(model):
    pruning = sta.Pruning(r=4)
    given = clips(1).double()
    # transformers adds its hooks at the first request; STA's come before them in either order.
    sta.remove(model)(given, output_hidden_states=True)
    sta.apply(model, pruning=pruning)
    hidden = model(given, output_hidden_states=True).hidden_states
    for theirs, plain in zip(hidden, plain_forward(model, given[0], pruning).hidden, strict=True):
        assert torch.allclose(theirs[0], plain, atol=1e-9)


@pytest.mark.parametrize("pruning", SETTINGS[:2], ids=str)
@torch.no_grad()
def test_rotary_angles_stay_with_their_tokens(pruning):
    model = sta.apply(vjepa2().double(), pruning=pruning)
    given = clips(1).double()
    logits = model(given).logits[0]
    right = plain_forward(model, given[0], pruning).logits
    wrong = plain_forward(model, given[0], pruning, positions_stay=False).logits
    assert torch.allclose(logits, right, atol=1e-9)
    assert (right - wrong).abs().max() > 1e-3


@torch.no_grad()
def test_a_v_jepa_2_takes_clips_of_another_length():
    model = sta.apply(vjepa2().double(), r=4)
    given = clips(1, frames=16).double()
    logits = model(given).logits[0]
    plain = plain_forward(model, given[0], sta.Pruning(r=4))
    assert [mask.shape for mask in model.sta.kept] == [(1, 8, 16)] * 3
    assert torch.allclose(logits, plain.logits, atol=1e-9)


@torch.no_grad()
def test_the_class_token_is_never_pruned():
    model = sta.apply(MODELS["vivit"](), r=4)
    hidden = model(clips(1), output_hidden_states=True).hidden_states
    assert [states.shape[1] for states in hidden] == [1 + n for n in (64, 48, 48, 40, 40, 36, 36)]
    assert [int(mask.sum()) for mask in model.sta.kept] == [48, 40, 36]


@torch.no_grad()
def test_a_frame_may_be_rectangular():
    model = sta.apply(MODELS["videomae"](image_size=[32, 48]).double(), r=4)
    given = clips(1, width=48).double()
    logits = model(given).logits[0]
    plain = plain_forward(model, given[0], sta.Pruning(r=4))
    assert [mask.shape for mask in model.sta.kept] == [(1, 4, 24)] * 3
    assert torch.allclose(logits, plain.logits, atol=1e-9)
