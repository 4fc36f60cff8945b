"""The labeler on an asynchronous device: transfers and batches run after the call that queued them.

Memory that is read too early, or written while it is still read, changes the labels here.
"""

import gc
import weakref

import numpy as np
import pytest
import torch

import sta
from tests.workers.inference.delayed_stream import DelayedStream
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


def labeler(checkpoint, streams=None, *, batch_size=4, views=(9, 1)):
    torch.manual_seed(0)
    config = LabelerConfig(str(checkpoint), pruning=sta.Pruning(r=22), batch_size=batch_size)
    return Labeler(config, protocol("videomae-k400", size=SIZE, views=views), streams=streams)


def bits(labeled):
    return [
        (view.clip, view.crop, view.probabilities.tobytes(), [m.tobytes() for m in view.kept])
        for evaluated in labeled
        for view in evaluated.views
    ]


@pytest.fixture(scope="module")
def expected(random_checkpoint):
    return bits(labeler(random_checkpoint).label(mixed_units()))


@pytest.mark.parametrize("late", ["model", "transfers", "both"])
def test_an_asynchronous_device_gives_the_same_bits(random_checkpoint, expected, late):
    """Batches of 4 and units of 1 to 9 clips: units share batches and span them; buffers grow."""
    model = DelayedStream(0.02 if late != "transfers" else 0)
    transfers = DelayedStream(0.02 if late != "model" else 0)
    made = labeler(random_checkpoint, (model, transfers))
    assert bits(made.label(mixed_units())) == expected
    assert bits(made.label(mixed_units())) == expected


def test_the_next_batch_is_submitted_before_the_results_of_one_are_collected(random_checkpoint):
    class Recording(DelayedStream):
        def __init__(self):
            super().__init__(0)
            self.lines = []

        def run(self, work):
            self.lines.append(work.__qualname__.split(".")[0])
            super().run(work)

    recording = Recording()
    made = labeler(random_checkpoint, (recording, DelayedStream(0)), views=(1, 1))
    seen = [recording.lines.count("OutputBuffer") for _ in made.stream([unit("u", clips=1)] * 12)]
    assert seen == [2] * 4 + [3] * 8


def test_views_are_yielded_before_later_units_are_read(random_checkpoint):
    taken = []

    def arriving():
        for number in range(9):
            taken.append(number)
            yield unit("u", clips=1)

    stream = labeler(random_checkpoint, views=(1, 1)).stream(arriving())
    next(stream)
    assert len(taken) == 8


def test_a_stream_that_is_closed_early_resets_the_labeler(random_checkpoint, expected):
    made = labeler(random_checkpoint, (DelayedStream(), DelayedStream()))
    stream = made.stream(mixed_units())
    next(stream)
    with pytest.raises(RuntimeError, match="one stream of units at a time"):
        made.label([unit("u")])
    stream.close()
    assert bits(made.label(mixed_units())) == expected


@pytest.mark.parametrize("staged", [True, False])
def test_a_labeled_unit_is_not_referenced_any_more(random_checkpoint, staged):
    """Frames lie in the object store, which cannot free memory that is still referenced."""
    streams = (DelayedStream(), DelayedStream()) if staged else None
    made = labeler(random_checkpoint, streams, batch_size=3)
    units = [unit(str(number)) for number in range(3)]
    held = [weakref.ref(frames.pixels) for frames in units]
    labeled = made.label(units)
    del units
    gc.collect()
    assert [ref() for ref in held] == [None] * 3
    assert len(labeled) == 3


@pytest.mark.parametrize("staged", [True, False])
def test_read_only_pixels_raise_no_warning(random_checkpoint, staged, recwarn):
    frames = unit("u")
    before = frames.pixels.copy()
    streams = (DelayedStream(), DelayedStream()) if staged else None
    labeler(random_checkpoint, streams).label([frames])
    assert np.array_equal(frames.pixels, before)
    assert not [w for w in recwarn if "writ" in str(w.message)]


def test_device_memory_does_not_grow_with_the_number_of_units():
    transfers = DelayedStream(0)
    allocated = []
    allocate = transfers.empty
    transfers.empty = lambda size: allocated.append(size) or allocate(size)
    loader = StagedLoader(transfers, units=3)
    frames = unit("u")
    for _ in range(20):
        loader.load(frames, np.arange(2))
    size = frames.pixels.nbytes + 8 * (2 + frames.clip_frames.size)
    assert allocated == [1, 1, 1, size, size, size]


def test_a_buffer_is_freed_only_after_its_last_read():
    """Larger frames need a larger buffer; freed memory may be written by others at once."""
    model, transfers = DelayedStream(0.05), DelayedStream(0)
    loader = StagedLoader(transfers, units=1)
    buffer = loader.load(unit("small", clips=1), np.arange(1)).buffer
    model.run(lambda: None)
    buffer.read = last_use = model.record_event()
    allocate = transfers.empty
    freed = []
    transfers.empty = lambda size: freed.append(last_use.reached.is_set()) or allocate(size)
    loader.load(unit("large", clips=9), np.arange(9))
    assert freed == [True]


def test_a_transfer_of_wrong_pixels_is_detected(random_checkpoint):
    """The ids travel with the pixels, so a buffer that is written too soon shows."""

    class Unsynchronized(DelayedStream):
        def record_event(self):
            event = super().record_event()
            event.synchronize = lambda: None
            return event

    # The host does not wait for transfers and overwrites pixels that are not read yet.
    made = labeler(random_checkpoint, (DelayedStream(0), Unsynchronized(0.05)), views=(1, 1))
    with pytest.raises(IdMismatch, match="returned the ids"):
        made.label([unit(str(number), clips=1, seed=number) for number in range(12)])


def test_an_error_on_the_device_reaches_the_caller(random_checkpoint, monkeypatch):
    made = labeler(random_checkpoint, (DelayedStream(0), DelayedStream(0)))

    def broken(clips):
        raise RuntimeError("no such kernel")

    monkeypatch.setattr(made.model, "forward", broken)
    with pytest.raises(RuntimeError, match="no such kernel"):
        made.label([unit("u")])
