"""RLT drops the tubelets that did not change, by number and by threshold."""

import pytest
import torch
import torch.nn.functional as F

import sta
from pipeline.lab.baselines.run_length import RLT, ThresholdRLT, tubelet_changes
from sta.models.configs import ViTConfig
from sta.models.create import model_from_config
from tests.pipeline.lab.baselines.plain import ODD, SMALL, clips_for, plain_rlt, small_vit


def fewest(drop):
    return lambda changes: [place for _, place in sorted(changes)[drop:]]


def above(threshold):
    return lambda changes: [place for change, place in changes if change > threshold]


@pytest.mark.parametrize(
    ("settings", "keeps"),
    [(RLT(0), fewest(0)), (RLT(11), fewest(11)), (ThresholdRLT(1.13), above(1.13))],
)
@pytest.mark.parametrize("config", [SMALL, ODD])
@torch.inference_mode()
def test_the_model_is_that_of_the_plain_form(config, settings, keeps):
    model, clips = small_vit(config), clips_for(config)
    logits, (mask,), _ = settings.apply(model)(clips)
    counts = set()
    for ours, kept, clip in zip(logits, mask, clips, strict=True):
        theirs, places = plain_rlt(model, clip, keeps)
        assert kept.flatten().nonzero()[:, 0].tolist() == places
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10)
        counts.add(len(places))
    assert counts != {config.grid[0] * config.grid[1]} or settings == RLT(0)


@torch.inference_mode()
def test_dropping_nothing_is_the_unpruned_model():
    model, clips = small_vit(), clips_for()
    logits = RLT(0).apply(model)(clips).logits
    torch.testing.assert_close(logits, model(clips).logits, rtol=0, atol=1e-12)


@torch.inference_mode()
def test_a_still_clip_keeps_its_first_tubelets_alone():
    clip = clips_for(batch=1)[:, :, :1].expand(-1, -1, SMALL.frames, -1, -1)
    kept = ThresholdRLT().apply(small_vit())(clip).kept[0]
    assert kept[0, 0].all()
    assert not kept[0, 1:].any()


def test_the_first_frame_of_a_tubelet_is_compared_with_the_last_of_the_next():
    clips = torch.zeros(1, 3, 6, 16, 32)
    clips[:, :, 3, :, :16] = 1.0  # last frame of the second tubelet, left
    clips[:, :, 4, :, 16:] = 2.0  # first frame of the third, which nothing follows
    changes = tubelet_changes(clips, tubelet_size=2, patch_size=16)
    assert changes.tolist() == [[[1.0, 0.0], [0.0, 0.0]]]


@pytest.mark.parametrize("settings", [RLT(0), RLT(11), RLT(27), ThresholdRLT(1.13)])
def test_its_flops_are_those_that_fvcore_counts(settings):
    pytest.importorskip("fvcore")
    model = small_vit()
    reduced = settings.apply(model)
    torch.manual_seed(3)
    counted = sta.count_flops(reduced)
    torch.manual_seed(3)
    clip = torch.randn(1, *SMALL.input_shape, dtype=torch.float64)
    assert reduced.clip_flops(reduced(clip).kept) == [counted]
    if isinstance(settings, RLT):
        assert settings.flops(SMALL, num_classes=5) == counted


@torch.inference_mode()
def test_rotary_positions_stay_with_their_tokens_and_the_pooler_sees_the_kept_ones():
    pytest.importorskip("fvcore")
    config = ViTConfig(
        embed_dim=64,
        depth=2,
        num_heads=2,
        frames=8,
        image_size=48,
        key_bias=True,
        backbone="vjepa2",
    )
    torch.manual_seed(0)
    model = model_from_config(config, "vjepa2_large", num_classes=5).double()
    for parameter in model.parameters():
        parameter.normal_(std=0.3)
    clips = clips_for(config)
    whole = RLT(0).apply(model)(clips).logits
    torch.testing.assert_close(whole, model(clips).logits, rtol=0, atol=1e-12)
    reduced = RLT(11).apply(model)
    assert RLT(11).flops(config, num_classes=5) == sta.count_flops(reduced)
    logits, (mask,), _ = reduced(clips)
    for ours, kept, clip in zip(logits, mask, clips, strict=True):
        # All tokens go through the blocks, and none attends to a dropped one.
        x, positions = model.embed(clip[None]), torch.arange(36)[None]
        left = kept.flatten()
        for block in model.blocks:
            hidden = block.norm1(x)
            _, qkv = block.attn(hidden)
            rotation = model.rotation(positions)
            query, key = (rotation.rotate(each) for each in qkv[:2])
            heads = F.scaled_dot_product_attention(query, key, qkv[2], attn_mask=left[None])
            x = x + block.attn.proj(heads.transpose(1, 2).flatten(2))
            x = x + block.mlp(block.norm2(x))
        theirs = model.head(model.pool(x[:, left]))[0]
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10)


def test_what_it_cannot_drop_is_refused_with_what_it_can():
    with pytest.raises(ValueError, match="drop must be 0 to 27, since all tubelets of the first"):
        RLT(28).apply(small_vit())
    with pytest.raises(ValueError, match="drop must be 0 tubelets or more; got -1"):
        RLT(-1)
    with pytest.raises(ValueError, match="threshold must be 0 or more; got -1"):
        ThresholdRLT(-1.0)
    swin = sta.create_model("videoswin_tiny")
    with pytest.raises(ValueError, match="rlt drops tokens.*got videoswin_tiny"):
        RLT(8).apply(swin)
