"""How much goes through the graph at once, and what a labeler needs."""

import pytest

import sta
from pipeline.execution.block_size import (
    batch_for,
    default_batch,
    grain,
    labeler_bytes,
    labelers_worth_starting,
    padding,
    unit_bytes,
)
from workers.sampling import protocol

K400 = protocol("videomae-k400", size=224)
MIB = 1024**2


def sizes(views=K400, *, batch_size=32, units=100_000, decoders=14, labelers=1):
    return grain(views, batch_size=batch_size, units=units, decoders=decoders, labelers=labelers)


@pytest.mark.parametrize("batch_size", [1, 4, 8, 15, 16, 32])
@pytest.mark.parametrize("crops", [1, 3])
def test_views_of_a_call_fill_the_batches(batch_size, crops):
    views = protocol("videomae-k400", size=224, views=(5, crops))
    rows = sizes(views, batch_size=batch_size).label_rows
    assert padding(rows * views.views, batch_size) <= 0.01


def test_a_call_is_no_larger_than_it_must_be():
    assert sizes(batch_size=15).label_rows == 1
    assert sizes(batch_size=8).label_rows == 8


@pytest.mark.parametrize("units", [1, 5, 15, 48, 1000, 10**6])
@pytest.mark.parametrize("batch_size", [8, 32])
def test_a_call_takes_whole_blocks_that_ray_never_cuts(units, batch_size):
    made = sizes(batch_size=batch_size, units=units)
    assert made.label_rows % made.decode_rows == 0
    assert made.decode_rows * unit_bytes(K400) < 128 * MIB
    assert made.label_rows * K400.clips <= 160


def test_in_a_small_run_every_decoder_and_labeler_gets_several():
    made = sizes(units=48, decoders=3, labelers=2)
    assert made.decode_rows * 3 * 8 <= 48
    assert made.label_rows * 6 <= 48


def test_a_unit_with_more_clips_than_a_call_takes_goes_alone():
    dense = protocol("videomae-k400", size=224, every_s=1.0, views=(200, 1))
    made = sizes(dense)
    assert (made.decode_rows, made.label_rows) == (1, 1)


@pytest.mark.parametrize("adaptive", [False, True])
def test_a_call_of_long_and_large_clips_takes_fewer(adaptive):
    views = protocol("vjepa2-ssv2", frames=64, size=384)
    made = grain(
        views, batch_size=32, units=100_000, decoders=14, labelers=1, adaptive=adaptive, clips=1.2
    )
    assert made.decode_rows == 1
    assert made.label_rows * unit_bytes(views) < 3000 * MIB


def test_small_runs_start_one_labeler():
    assert labelers_worth_starting(0) == 1
    assert labelers_worth_starting(90) == 1
    assert labelers_worth_starting(48 * 15) == 2


def test_a_labeler_on_a_cpu_reserves_more_than_its_measured_peak():
    # Resident after a forward pass: 348 MiB, 1256 MiB and 1793 MiB; Ray and Arrow come on top.
    demo = protocol("videomae-k400", size=112)
    swin = protocol("videoswin-k400", size=224, frames=32)
    for architecture, views, batch_size, peak in (
        ("vit_demo", demo, 8, 348),
        ("vit_base", K400, 8, 1256),
        ("videoswin_base", swin, 2, 1793),
    ):
        taken = labeler_bytes(architecture, views, on_gpu=False, batch_size=batch_size)
        assert peak * MIB < taken < 2.5 * peak * MIB


def test_on_a_gpu_the_passes_take_no_memory_of_the_host():
    one, other = (labeler_bytes("vit_base", K400, on_gpu=True, batch_size=size) for size in (1, 64))
    assert one == other


@pytest.mark.parametrize("units", [1, 48, 10**6])
@pytest.mark.parametrize("batch_size", [8, 32])
def test_with_early_exit_a_call_takes_as_many_units_as_memory_allows(units, batch_size):
    made = grain(K400, batch_size=batch_size, units=units, decoders=3, labelers=1, adaptive=True)
    assert made.label_rows == min(160 // K400.clips, max(1, units // 3))
    assert made.label_rows % made.decode_rows == 0


def test_every_further_model_reserves_its_weights_and_its_input():
    """31 models of the demonstration, as an evaluation holds them, took 1.35 GB beside frames."""
    views = protocol("videomae-k400", size=112)
    one, many = (
        labeler_bytes("vit_demo", views, on_gpu=False, batch_size=8, models=models)
        for models in (1, 31)
    )
    inputs = 8 * 16 * 112 * 112 * 3 * 5
    weights = 4 * sta.parameter_count(sta.ARCHITECTURES["vit_demo"], num_classes=400)
    assert many - one == pytest.approx(1.25 * 30 * (inputs + weights), rel=1e-6)
    assert many > 1.35e9


def test_units_of_which_one_clip_is_decoded_go_through_in_larger_numbers():
    settings = {"batch_size": 32, "units": 10**6, "decoders": 3, "labelers": 1, "adaptive": True}
    whole, first = grain(K400, **settings), grain(K400, **settings, clips=1)
    assert first.label_rows == 2 * whole.label_rows
    assert first.decode_rows >= 4 * whole.decode_rows
    assert grain(K400, **settings, clips=K400.clips) == whole


@pytest.mark.parametrize(
    ("name", "frames", "size", "gpu", "cpu"),
    [
        *(("videomae-k400", 16, 224, 32, 8), ("videoswin-k400", 32, 224, 32, 8)),
        *(("vjepa2-ssv2", 16, 256, 32, 8), ("vjepa2-ssv2", 64, 256, 12, 3)),
        *(("vjepa2-ssv2", 64, 384, 5, 1), ("vjepa2-ssv2", 128, 384, 2, 1)),
    ],
)
def test_larger_clips_go_through_in_smaller_batches(name, frames, size, gpu, cpu):
    views = protocol(name, frames=frames, size=size)
    assert default_batch(views, on_gpu=True) == gpu
    assert default_batch(views, on_gpu=False) == cpu


@pytest.mark.parametrize("most", [1, 2, 5, 8, 32])
def test_a_batch_pads_least_in_as_few_passes_as_the_largest_takes(most):
    for views in range(1, 200):
        size = batch_for(views, most)
        passes = -(-views // most)
        assert 1 <= size <= most
        assert size * passes >= views
        assert (size - 1) * passes < views
