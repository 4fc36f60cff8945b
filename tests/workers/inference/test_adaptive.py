"""Adaptive looking: a unit's label hangs on its own frames alone, and on as many as settle it."""

import itertools

import numpy as np
import pytest
import torch

import sta
from tests.early_exit_files import views_needed
from tests.workers.inference.late_stream import LateLane
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


def adaptive(checkpoint, early_exit=EARLY_EXIT, *, lanes=None):
    return AdaptiveLabeler(config(checkpoint), recipe(), early_exit, lanes=lanes)


def bits(looks):
    views = [(v.clip, v.crop, v.probabilities.tobytes(), [m.tobytes() for m in v.kept])
             for v in looks.views]  # fmt: skip
    return views, looks.margins


@pytest.fixture(scope="module")
def everything(checkpoint):
    """Every view of every unit, by (clip, crop)."""
    labeled = Labeler(config(checkpoint), recipe()).label(UNITS)
    return [{(view.clip, view.crop): view for view in views} for views in labeled]


@pytest.fixture(scope="module")
def looked(checkpoint):
    return list(adaptive(checkpoint).stream(UNITS))


def test_as_many_views_are_looked_at_as_a_simulation_from_stored_probabilities_says(
    looked, everything
):
    counts = []
    for looks, views in zip(looked, everything, strict=True):
        known = margins(np.stack([views[place].probabilities for place in ORDER]))
        needed = views_needed(EARLY_EXIT, known)
        assert looks.margins == known[:needed].tolist()
        assert [(v.clip, v.crop) for v in looks.views] == sorted(ORDER[:needed])
        counts.append(needed)
    assert len(set(counts)) > 2, "the units are to differ"


def test_a_view_says_what_it_says_when_all_are_labeled(looked, everything):
    for looks, views in zip(looked, everything, strict=True):
        for view in looks.views:
            same = views[view.clip, view.crop]
            assert view.probabilities.tobytes() == same.probabilities.tobytes()
            assert [m.tobytes() for m in view.kept] == [m.tobytes() for m in same.kept]
            assert view.flops == same.flops


@pytest.mark.parametrize("companions", [[], [10, 9, 8], [3, 1, 0, 5, 7, 9, 8, 4]])
def test_a_unit_has_the_same_bits_whatever_it_shares_its_batches_with(
    checkpoint, looked, companions
):
    made = adaptive(checkpoint)
    for number in (2, 6):
        chosen = [*companions, number]
        results = list(made.stream([UNITS[each] for each in chosen]))
        assert [bits(x) for x in results] == [bits(looked[each]) for each in chosen]


@pytest.mark.parametrize("late", ["model", "transfers", "both"])
def test_a_late_device_changes_no_bit(checkpoint, looked, late):
    lanes = (
        LateLane(0.01 if late != "transfers" else 0),
        LateLane(0.01 if late != "model" else 0),
    )
    made = adaptive(checkpoint, lanes=lanes)
    for _ in range(2):
        assert [bits(each) for each in made.stream(UNITS)] == [bits(each) for each in looked]


def test_a_policy_that_is_never_content_looks_at_every_view(checkpoint, everything):
    made = adaptive(checkpoint, EarlyExit(float("inf")))
    looks = list(made.stream(UNITS[:3]))
    assert [len(each.views) for each in looks] == [9] * 3
    assert made.engine.launches == 7


def test_a_policy_of_one_view_wastes_no_place_in_a_batch(checkpoint):
    made = adaptive(checkpoint, EarlyExit(float("inf"), max_views=1))
    assert [len(each.views) for each in made.stream(UNITS[:8])] == [1] * 8
    assert made.engine.launches == 2


def test_units_are_begun_only_as_the_batches_need_them(checkpoint):
    taken = []

    def arriving():
        for number in itertools.count():
            taken.append(number)
            yield UNITS[number % len(UNITS)]

    stream = adaptive(checkpoint, EarlyExit(0.0)).stream(arriving())
    next(stream)
    assert len(taken) == BATCH
    stream.close()


@pytest.mark.parametrize("lanes", [None, (0.01, 0.01)])
def test_the_device_time_of_all_batches_is_borne_by_the_views_that_were_used(checkpoint, lanes):
    made = adaptive(checkpoint, lanes=lanes and tuple(map(LateLane, lanes)))
    times, land = [], made.engine.land

    def landing():
        landed = land()
        times.append(landed.device_ms)
        return landed

    made.engine.land = landing
    looks = list(made.stream(UNITS))
    borne = sum(view.device_ms for each in looks for view in each.views)
    assert len(times) == made.engine.launches
    assert borne == pytest.approx(sum(times))


def test_views_computed_on_speculation_are_thrown_away(checkpoint, looked):
    made = adaptive(checkpoint)
    list(made.stream(UNITS))
    used = sum(len(each.views) for each in looked)
    assert made.engine.launches * BATCH > used
    assert made.engine.launches <= -(-used // BATCH) + 3


def test_a_stream_that_is_left_midway_leaves_the_labeler_as_it_was(checkpoint, looked):
    made = adaptive(checkpoint, lanes=(LateLane(), LateLane()))
    stream = made.stream(UNITS)
    next(stream)
    with pytest.raises(RuntimeError, match="one stream of units at a time"):
        list(made.stream(UNITS))
    stream.close()
    assert [bits(each) for each in made.stream(UNITS)] == [bits(each) for each in looked]


def test_a_batch_that_returns_other_ids_is_refused(checkpoint, monkeypatch):
    made = adaptive(checkpoint)
    step = made.engine.step

    def swapped():
        ids, *rest = step()
        return ids.flip(0), *rest

    monkeypatch.setattr(made.engine, "step", swapped)
    with pytest.raises(IdMismatch, match=r"views 0 to 3 went in and views \[3, 2, 1, 0\] came"):
        list(made.stream(UNITS))


def test_a_timeline_is_refused(checkpoint):
    timeline = protocol("videomae-k400", size=SIZE, every_s=1.0)
    with pytest.raises(ValueError, match="labels of their own"):
        AdaptiveLabeler(config(checkpoint), timeline, EarlyExit(1.0))


def test_no_units_give_no_labels(checkpoint):
    assert list(adaptive(checkpoint).stream([])) == []


def test_a_model_that_says_nothing_is_asked_for_every_view_and_ends(tmp_path):
    torch.manual_seed(0)
    model = sta.create_model("vit_demo", num_classes=3)
    torch.nn.init.constant_(model.head.weight, torch.nan)
    path = tmp_path / "broken.safetensors"
    sta.save_checkpoint(model, path, labels=list("abc"), origin="random")
    looks = list(adaptive(str(path)).stream(UNITS[:2]))
    assert [len(each.margins) for each in looks] == [len(ORDER)] * 2
