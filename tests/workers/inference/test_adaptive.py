"""Adaptive labeling: the result depends on the unit's own frames, and stops where it should."""

import itertools

import numpy as np
import pytest
import torch

import sta
from tests.early_exit_files import views_needed
from tests.workers.inference.delayed_stream import DelayedStream
from workers.inference.adaptive import AdaptiveLabeler
from workers.inference.early_exit import EarlyExit, margins
from workers.inference.labeler import Frames, IdMismatch, Labeler, LabelerConfig
from workers.sampling import protocol, view_order

SIZE = 112
VIEWS = (3, 3)
BATCH = 4
ORDER = view_order(VIEWS[0], range(VIEWS[1]))
EARLY_EXIT = EarlyExit(0.8)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """Of random weights, whose margins differ from unit to unit."""
    torch.manual_seed(0)
    model = sta.create_model("vit_demo", num_classes=3)
    path = tmp_path_factory.mktemp("model") / "random.safetensors"
    torch.nn.init.normal_(model.head.weight, std=0.5)
    sta.save_checkpoint(model, path, labels=list("abc"), origin="random")
    return str(path)


def unit(seed, *, width=149):
    rng = np.random.default_rng(seed)
    low = rng.integers(0, 256, (20, 7, width // 7 + 1, 3), dtype=np.uint8)
    pixels = np.kron(low, np.ones((1, 16, 7, 1), np.uint8))[:, :SIZE, :width]
    return Frames(
        unit_id=f"u{seed}",
        pixels=np.ascontiguousarray(pixels),
        clip_frames=rng.integers(0, 20, (VIEWS[0], 16), dtype=np.int32),
    )


UNITS = [unit(seed, width=112 + 20 * (seed % 3)) for seed in range(11)]


def config(checkpoint):
    return LabelerConfig(checkpoint, pruning=sta.Pruning(r=22), batch_size=BATCH)


def recipe():
    return protocol("videomae-k400", size=SIZE, views=VIEWS)


def adaptive(checkpoint, early_exit=EARLY_EXIT, *, streams=None):
    return AdaptiveLabeler(config(checkpoint), recipe(), early_exit, streams=streams)


def bits(evaluated):
    views = [(v.clip, v.crop, v.probabilities.tobytes(), [m.tobytes() for m in v.kept])
             for v in evaluated.views]  # fmt: skip
    return views, evaluated.margins


@pytest.fixture(scope="module")
def everything(checkpoint):
    """Every view of every unit, by (clip, crop)."""
    labeled = Labeler(config(checkpoint), recipe()).label(UNITS)
    return [{(view.clip, view.crop): view for view in each.views} for each in labeled]


@pytest.fixture(scope="module")
def results(checkpoint):
    return list(adaptive(checkpoint).stream(UNITS))


def test_a_simulation_from_stored_probabilities_stops_at_the_same_view(results, everything):
    counts = []
    for each, views in zip(results, everything, strict=True):
        known = margins(np.stack([views[place].probabilities for place in ORDER]))
        needed = views_needed(EARLY_EXIT, known)
        assert each.margins == known[:needed].tolist()
        assert [(v.clip, v.crop) for v in each.views] == sorted(ORDER[:needed])
        counts.append(needed)
    assert len(set(counts)) > 2, "the units must differ"


def test_a_view_has_the_same_bits_as_without_early_exit(results, everything):
    for each, views in zip(results, everything, strict=True):
        for view in each.views:
            same = views[view.clip, view.crop]
            assert view.probabilities.tobytes() == same.probabilities.tobytes()
            assert [m.tobytes() for m in view.kept] == [m.tobytes() for m in same.kept]
            assert view.flops == same.flops


@pytest.mark.parametrize("companions", [[], [10, 9, 8], [3, 1, 0, 5, 7, 9, 8, 4]])
def test_a_unit_has_the_same_bits_whatever_it_shares_its_batches_with(
    checkpoint, results, companions
):
    made = adaptive(checkpoint)
    for number in (2, 6):
        chosen = [*companions, number]
        again = made.label([UNITS[each] for each in chosen])
        assert [bits(x) for x in again] == [bits(results[each]) for each in chosen]


@pytest.mark.slow
@pytest.mark.parametrize("late", ["model", "transfers", "both"])
def test_an_asynchronous_device_gives_the_same_bits(checkpoint, results, late):
    streams = (
        DelayedStream(0.01 if late != "transfers" else 0),
        DelayedStream(0.01 if late != "model" else 0),
    )
    made = adaptive(checkpoint, streams=streams)
    for _ in range(2):
        assert [bits(each) for each in made.stream(UNITS)] == [bits(each) for each in results]


def test_an_infinite_threshold_evaluates_every_view(checkpoint, everything):
    made = adaptive(checkpoint, EarlyExit(float("inf")))
    evaluated = made.label(UNITS[:3])
    assert [len(each.views) for each in evaluated] == [9] * 3
    assert made.engine.batches == 7


def test_max_views_of_one_fills_batches_with_needed_views_only(checkpoint):
    made = adaptive(checkpoint, EarlyExit(float("inf"), max_views=1))
    assert [len(each.views) for each in made.stream(UNITS[:8])] == [1] * 8
    assert made.engine.batches == 2


def test_units_are_read_only_as_batches_need_them(checkpoint):
    taken = []

    def arriving():
        for number in itertools.count():
            taken.append(number)
            yield UNITS[number % len(UNITS)]

    stream = adaptive(checkpoint, EarlyExit(0.0)).stream(arriving())
    next(stream)
    assert len(taken) == BATCH
    stream.close()


@pytest.mark.parametrize("streams", [None, (0.01, 0.01)])
def test_the_device_time_of_all_batches_is_divided_among_the_views_used(checkpoint, streams):
    made = adaptive(checkpoint, streams=streams and tuple(map(DelayedStream, streams)))
    times, collect = [], made.engine.collect

    def collect_and_note():
        result = collect()
        times.append(result.device_ms)
        return result

    made.engine.collect = collect_and_note
    total = sum(each.device_ms for each in made.label(UNITS))
    assert len(times) == made.engine.batches
    assert total == pytest.approx(sum(times))


def test_few_views_are_computed_and_discarded(checkpoint, results):
    made = adaptive(checkpoint)
    list(made.stream(UNITS))
    used = sum(len(each.views) for each in results)
    assert made.engine.batches * BATCH > used
    assert made.engine.batches <= -(-used // BATCH) + 3


def test_a_stream_that_is_closed_early_resets_the_labeler(checkpoint, results):
    made = adaptive(checkpoint, streams=(DelayedStream(), DelayedStream()))
    stream = made.stream(UNITS)
    next(stream)
    with pytest.raises(RuntimeError, match="one stream of units at a time"):
        list(made.stream(UNITS))
    stream.close()
    assert [bits(each) for each in made.stream(UNITS)] == [bits(each) for each in results]


def test_a_batch_that_returns_other_ids_is_refused(checkpoint, monkeypatch):
    made = adaptive(checkpoint)
    step = made.engine.step

    def swapped():
        ids, *rest = step()
        return ids.flip(0), *rest

    monkeypatch.setattr(made.engine, "step", swapped)
    with pytest.raises(IdMismatch, match=r"views 0 to 3 returned the ids \[3, 2, 1, 0\]"):
        list(made.stream(UNITS))


def test_dense_labeling_is_refused(checkpoint):
    dense = protocol("videomae-k400", size=SIZE, every_s=1.0)
    with pytest.raises(ValueError, match="every clip has its own label"):
        AdaptiveLabeler(config(checkpoint), dense, EarlyExit(1.0))


def test_no_units_give_no_labels(checkpoint):
    assert list(adaptive(checkpoint).stream([])) == []


def test_a_model_that_returns_nan_is_evaluated_on_every_view(tmp_path):
    torch.manual_seed(0)
    model = sta.create_model("vit_demo", num_classes=3)
    torch.nn.init.constant_(model.head.weight, torch.nan)
    path = tmp_path / "broken.safetensors"
    sta.save_checkpoint(model, path, labels=list("abc"), origin="random")
    evaluated = adaptive(str(path)).label(UNITS[:2])
    assert [len(each.margins) for each in evaluated] == [len(ORDER)] * 2
