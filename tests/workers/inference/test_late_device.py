"""A device that is late: every transfer and batch happens after the call that asked for it.

What is read too early, or written while it is still read, gives other labels here.
"""

import gc
import weakref

import numpy as np
import pytest
import torch

import sta
from tests.workers.inference.late_stream import LateLane
from workers.inference.labeler import Frames, IdMismatch, Labeler, LabelerConfig
from workers.inference.loading import StagedLoader
from workers.sampling import protocol

SIZE = 112


def unit(name, *, clips=2, width=149, height=SIZE, seed=None):
    rng = np.random.default_rng(hash(name) % 1000 if seed is None else seed)
    pixels = rng.integers(0, 256, (16 + clips, height, width, 3), dtype=np.uint8)
    pixels.flags.writeable = False
    rows = np.arange(16, dtype=np.int32) + np.arange(clips, dtype=np.int32)[:, None]
    return Frames(unit_id=name, pixels=pixels, clip_frames=rows)


def mixed_units():
    """Of one to nine clips and several sizes of frame, the largest neither first nor last."""
    shapes = [(1, 112, 149), (2, 112, 112), (9, 112, 200), (1, 180, 112), (2, 112, 149)]
    return [
        unit(str(number), clips=clips, height=height, width=width, seed=number)
        for number, (clips, height, width) in enumerate(shapes * 2)
    ]


def labeler(checkpoint, lanes=None, *, batch_size=4, views=(9, 1)):
    torch.manual_seed(0)
    config = LabelerConfig(str(checkpoint), pruning=sta.Pruning(r=22), batch_size=batch_size)
    return Labeler(config, protocol("videomae-k400", size=SIZE, views=views), lanes=lanes)


def bits(labeled):
    return [
        (view.clip, view.crop, view.probabilities.tobytes(), [m.tobytes() for m in view.kept])
        for views in labeled
        for view in views
    ]


@pytest.fixture(scope="module")
def expected(random_checkpoint):
    return bits(labeler(random_checkpoint).label(mixed_units()))


@pytest.mark.parametrize("late", ["model", "transfers", "both"])
def test_a_late_device_changes_no_bit(random_checkpoint, expected, late):
    """Batches of 4 and units of 1 to 9 clips, so both share and are cut; frames outgrow memory."""
    model = LateLane(0.02 if late != "transfers" else 0)
    transfers = LateLane(0.02 if late != "model" else 0)
    made = labeler(random_checkpoint, (model, transfers))
    assert bits(made.label(mixed_units())) == expected
    assert bits(made.label(mixed_units())) == expected


def test_the_next_batch_is_launched_before_the_results_of_one_are_asked_for(random_checkpoint):
    class Diary(LateLane):
        def __init__(self):
            super().__init__(0)
            self.lines = []

        def run(self, work):
            self.lines.append(work.__qualname__.split(".")[0])
            super().run(work)

    diary = Diary()
    made = labeler(random_checkpoint, (diary, LateLane(0)), views=(1, 1))
    seen = [diary.lines.count("Readback") for _ in made.stream([unit("u", clips=1)] * 12)]
    assert seen == [2] * 4 + [3] * 8


def test_views_are_handed_over_while_later_ones_are_still_to_come(random_checkpoint):
    taken = []

    def arriving():
        for number in range(9):
            taken.append(number)
            yield unit("u", clips=1)

    stream = labeler(random_checkpoint, views=(1, 1)).stream(arriving())
    next(stream)
    assert len(taken) == 8


def test_a_stream_that_is_left_midway_leaves_the_labeler_as_it_was(random_checkpoint, expected):
    made = labeler(random_checkpoint, (LateLane(), LateLane()))
    stream = made.stream(mixed_units())
    next(stream)
    with pytest.raises(RuntimeError, match="one stream of units at a time"):
        made.label([unit("u")])
    stream.close()
    assert bits(made.label(mixed_units())) == expected


@pytest.mark.parametrize("staged", [True, False])
def test_nothing_of_a_unit_is_held_once_it_is_labeled(random_checkpoint, staged):
    """Frames lie in the object store, which cannot free what somebody still looks at."""
    lanes = (LateLane(), LateLane()) if staged else None
    made = labeler(random_checkpoint, lanes, batch_size=3)
    units = [unit(str(number)) for number in range(3)]
    held = [weakref.ref(frames.pixels) for frames in units]
    labeled = made.label(units)
    del units
    gc.collect()
    assert [ref() for ref in held] == [None] * 3
    assert len(labeled) == 3


@pytest.mark.parametrize("staged", [True, False])
def test_pixels_that_cannot_be_written_are_read_without_a_warning(
    random_checkpoint, staged, recwarn
):
    frames = unit("u")
    before = frames.pixels.copy()
    lanes = (LateLane(), LateLane()) if staged else None
    labeler(random_checkpoint, lanes).label([frames])
    assert np.array_equal(frames.pixels, before)
    assert not [w for w in recwarn if "writ" in str(w.message)]


def test_the_device_holds_the_frames_of_a_few_units_however_many_are_labeled():
    transfers = LateLane(0)
    allocated = []
    allocate = transfers.empty
    transfers.empty = lambda size: allocated.append(size) or allocate(size)
    loader = StagedLoader(transfers, units=3)
    frames = unit("u")
    for _ in range(20):
        loader.load(frames, np.arange(2))
    size = frames.pixels.nbytes + 8 * (2 + frames.clip_frames.size)
    assert allocated == [1, 1, 1, size, size, size]


def test_memory_is_given_back_once_nobody_reads_it():
    """Larger frames want larger memory; what is freed may be somebody else's at once."""
    model, transfers = LateLane(0.05), LateLane(0)
    loader = StagedLoader(transfers, units=1)
    memory = loader.load(unit("small", clips=1), np.arange(1)).memory
    model.run(lambda: None)
    memory.read = last_use = model.mark()
    allocate = transfers.empty
    passed = []
    transfers.empty = lambda size: passed.append(last_use.passed.is_set()) or allocate(size)
    loader.load(unit("large", clips=9), np.arange(9))
    assert passed == [True]


def test_a_transfer_that_brings_other_pixels_is_found_out(random_checkpoint):
    """The ids come in one piece with the pixels, so memory used again too soon shows."""

    class Impatient(LateLane):
        def mark(self):
            mark = super().mark()
            mark.wait = lambda: None
            return mark

    # The host does not wait for transfers, and writes over pixels that are still to be read.
    made = labeler(random_checkpoint, (LateLane(0), Impatient(0.05)), views=(1, 1))
    with pytest.raises(IdMismatch, match="went in and views"):
        made.label([unit(str(number), clips=1, seed=number) for number in range(12)])


def test_an_error_on_the_device_reaches_the_caller(random_checkpoint, monkeypatch):
    made = labeler(random_checkpoint, (LateLane(0), LateLane(0)))

    def broken(clips):
        raise RuntimeError("no such kernel")

    monkeypatch.setattr(made.model, "forward", broken)
    with pytest.raises(RuntimeError, match="no such kernel"):
        made.label([unit("u")])
