"""Equations 6 and 7: against plain loops, and at the values that are known."""

import pytest
import torch
import torch.nn.functional as F

import sta
from sta.diagnostics import final_tokens, grad_norm, trajectory_sum


def plain_trajectory_sum(x, kept):
    total, count = 0.0, 0
    for i in range(x.shape[1]):
        if not kept[-1, i]:
            continue
        count += 1
        for t in range(x.shape[0] - 1):
            total += max(
                float(F.cosine_similarity(x[-1, i], x[t, j], dim=0))
                for j in range(x.shape[1])
                if kept[t, j]
            )
    return total / count


def test_trajectory_sum_is_equation_6():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 4, 6, 5, generator=generator, dtype=torch.float64)
    kept = torch.rand(2, 4, 6, generator=generator) < 0.6
    kept[:, :, 0] = True
    want = [plain_trajectory_sum(x[b], kept[b]) for b in range(2)]
    assert trajectory_sum(x, kept).tolist() == pytest.approx(want)


def test_a_still_picture_has_the_largest_trajectory_sum():
    frame = torch.randn(1, 1, 9, 4)
    assert float(trajectory_sum(frame.expand(1, 8, 9, 4))) == pytest.approx(7)


def test_a_frame_without_tokens_is_refused():
    kept = torch.ones(1, 3, 2, dtype=torch.bool)
    kept[0, 1] = False
    with pytest.raises(ValueError, match="at least one kept token in every frame"):
        trajectory_sum(torch.randn(1, 3, 2, 4), kept)


def test_final_tokens_stand_where_the_last_mask_says():
    torch.manual_seed(0)
    model = sta.create_model("vit_demo", pruning=sta.Pruning(r=22))
    clips = torch.randn(2, 3, 16, 112, 112)
    x, mask = final_tokens(model, clips)
    with torch.no_grad():
        out = model(clips)
        pooled = x.sum(dim=(1, 2)) / mask.sum(dim=(1, 2))[:, None]
        logits = model.head(model.fc_norm(pooled))
    assert torch.equal(mask, out.kept[-1])
    torch.testing.assert_close(logits, out.logits)
    assert (x[~mask] == 0).all()


def test_grad_norm_is_the_gradient_of_every_blocks_output():
    torch.manual_seed(0)
    model = sta.create_model("vit_demo", num_classes=4)
    clips, labels = torch.randn(2, 3, 16, 112, 112), torch.tensor([1, 3])
    outputs = []

    def watch(_module, _inputs, output):
        output[0].retain_grad()
        outputs.append(output[0])

    hooks = [block.register_forward_hook(watch) for block in model.blocks]
    F.cross_entropy(model(clips).logits, labels, reduction="sum").backward()
    for hook in hooks:
        hook.remove()
    want = sum(x.grad.abs().sum(dim=-1) for x in outputs).view(2, 8, 49)
    torch.testing.assert_close(grad_norm(model, clips, labels), want)


def test_a_dropped_token_has_no_gradient_where_nothing_reads_it():
    torch.manual_seed(0)
    model = sta.create_model("vit_demo", num_classes=4, pruning=sta.Pruning(r=22))
    clips, labels = torch.randn(1, 3, 16, 112, 112), torch.tensor([2])
    total = grad_norm(model, clips, labels)
    kept = model(clips).kept
    assert (total[~kept[0]] == 0).all()
    assert (total[kept[0]] > 0).all()
    assert float(total[kept[-1]].mean()) > float(total[kept[0] & ~kept[-1]].mean())
