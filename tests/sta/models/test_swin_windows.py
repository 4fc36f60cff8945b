"""Windows, what fills dropped places, and how many pairs the exact form computes."""

import itertools

import pytest
import torch

from sta.models.swin_sparse_windows import BUCKET, attended_pairs, exact_windows
from sta.models.swin_windows import WindowGrid, WindowShape, fill, nearest_kept

GRIDS = [
    WindowShape.fit(grid, window, shifted=shifted)
    for grid, window in [
        ((16, 14, 14), (8, 7, 7)),
        ((8, 7, 7), (8, 7, 7)),
        ((10, 13, 11), (4, 3, 5)),
        ((2, 3, 9), (8, 7, 7)),
    ]
    for shifted in (False, True)
]


def random_mask(shape, *, drop, batch=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    t, h, w = shape.grid
    order = torch.rand(batch, t, h * w, generator=generator).argsort(dim=-1)
    return order >= drop


def filling(shape, drop, **options):
    mask = random_mask(shape, drop=drop, **options)
    return mask, fill(mask, kept=mask.shape[-1] - drop, width=shape.grid[2])


@pytest.mark.parametrize(
    ("height", "width", "kept"), [(5, 7, 4), (7, 7, 1), (14, 14, 80), (1, 6, 2)]
)
def test_the_nearest_kept_place_is_by_distance_and_then_the_lowest(height, width, kept):
    generator = torch.Generator().manual_seed(kept)
    mask = torch.rand(6, height * width, generator=generator).argsort(dim=-1) < kept
    nearest = nearest_kept(mask.view(6, height, width))
    for row, answer in zip(mask, nearest, strict=True):
        left = row.nonzero().flatten().tolist()
        for place in range(height * width):
            y, x = divmod(place, width)
            want = min(left, key=lambda p: ((p // width - y) ** 2 + (p % width - x) ** 2, p))
            assert int(answer[place]) == want


def test_a_dropped_place_halfway_between_two_takes_the_upper_left():
    mask = torch.tensor([[True, False, True], [False, False, False], [True, False, True]])
    assert nearest_kept(mask).tolist() == [0, 0, 2, 0, 0, 2, 6, 6, 8]


def test_dropped_places_are_filled_within_their_own_frame():
    shape = GRIDS[0]
    mask, filled = filling(shape, 150)
    assert (filled.own.diff(dim=1) > 0).all()
    frame = torch.arange(shape.places) // mask.shape[-1]
    source = filled.own.gather(1, filled.source)
    assert torch.equal(frame[source], frame.expand_as(source))
    kept = mask.flatten(1)
    assert (source == torch.arange(shape.places))[kept].all()
    assert kept.gather(1, source).all()


def test_gathering_and_spreading_keeps_what_was_kept():
    mask, filled = filling(GRIDS[0], 60)
    x = torch.randn(2, mask[0].numel(), 3)
    spread = filled.spread(filled.gather(x))
    assert torch.equal(spread[mask.flatten(1)], x[mask.flatten(1)])


@pytest.mark.parametrize("shape", GRIDS, ids=str)
def test_every_place_is_shown_once_and_the_rest_is_padding(shape):
    order = WindowGrid(shape).order
    assert order.shape == (shape.count, shape.tokens)
    shown = order[order < shape.places]
    assert shown.sort().values.tolist() == list(range(shape.places))
    assert bool((order == shape.places).any()) == shape.is_padded


@pytest.mark.parametrize("shape", GRIDS, ids=str)
def test_regions_split_the_windows_and_never_join_opposite_borders(shape):
    grid = WindowGrid(shape)
    positions = grid.regions[grid.regions >= 0]
    assert positions.sort().values.tolist() == list(range(shape.count * shape.tokens))
    _, h, w = shape.grid
    for region in grid.regions:
        places = grid.order.flatten()[region[region >= 0]]
        places = places[places < shape.places]
        if len(places):
            frame, row, column = places // (h * w), places // w % h, places % w
            for axis, size in zip((frame, row, column), shape.window, strict=True):
                assert int(axis.max() - axis.min()) < size


@pytest.mark.parametrize("shape", GRIDS, ids=str)
@pytest.mark.parametrize("share", [0.0, 0.2, 0.6, 0.95])
def test_every_kept_token_is_asked_once_and_every_distinct_key_of_its_region_is_there(shape, share):
    grid = WindowGrid(shape)
    mask, filled = filling(shape, int(share * shape.grid[1] * shape.grid[2]))
    batch, tokens = filled.own.shape
    windows = exact_windows(filled, grid)
    per_clip = tokens + shape.is_padded
    asked = torch.cat(
        [b.rows[:, : b.is_query.shape[1]][b.is_query].flatten() for b in windows.buckets]
    )
    every = (torch.arange(batch)[:, None] * per_clip + torch.arange(tokens)).flatten()
    assert torch.equal(asked.sort().values, every)
    for bucket in windows.buckets:
        count, keys = bucket.rows.shape
        queries = bucket.is_query.shape[1]
        ends = torch.cat([bucket.offsets[1:], torch.tensor([len(bucket.relative)])])
        copies = (ends - bucket.offsets).view(count, queries, keys + 1)[:, 0, :keys]
        for row, is_query, copied in zip(bucket.rows, bucket.is_query, copies, strict=True):
            clip, number = divmod(int(row[0]), per_clip)
            region = grid.home[filled.own[clip, number]]
            places = grid.order.flatten()[grid.regions[region][grid.regions[region] >= 0]]
            source = torch.cat([filled.source[clip], torch.tensor([tokens])])[places]
            held, times = source.unique(return_counts=True)
            numbers = (row - clip * per_clip).tolist()
            found = {key: n for key, n in zip(numbers, copied.tolist(), strict=True) if n}
            assert found == dict(zip(held.tolist(), times.tolist(), strict=True))
            own = mask[clip].flatten()[places[places < shape.places]]
            assert int(is_query.sum()) == int(own.sum())


@pytest.mark.parametrize("shape", GRIDS, ids=str)
@pytest.mark.parametrize("drop", [1, 5, 20])
def test_the_exact_form_never_computes_more_pairs_than_whole_windows(shape, drop):
    _, filled = filling(shape, drop)
    pairs = attended_pairs(filled, WindowGrid(shape))
    assert (pairs <= shape.count * shape.tokens**2).all()


@pytest.mark.parametrize("shape", GRIDS, ids=str)
def test_pairs_are_those_of_the_buckets_and_of_each_clip_alone(shape):
    grid = WindowGrid(shape)
    mask, filled = filling(shape, 12, batch=3)
    pairs = attended_pairs(filled, grid)
    computed = sum(
        b.rows.numel() * b.is_query.shape[1] for b in exact_windows(filled, grid).buckets
    )
    assert int(pairs.sum()) == computed
    alone = fill(mask[1:2], kept=mask.shape[-1] - 12, width=shape.grid[2])
    assert attended_pairs(alone, grid).tolist() == [int(pairs[1])]


def test_a_window_over_whole_frames_needs_the_kept_tokens_alone():
    shape = WindowShape.fit((16, 7, 7), (8, 7, 7), shifted=True)
    _, filled = filling(shape, 33)
    windows = exact_windows(filled, WindowGrid(shape))
    sizes = {(b.rows.shape[1], b.is_query.shape[1]) for b in windows.buckets}
    assert sizes == {(8 * 16, 8 * 16), (4 * 16, 4 * 16)}
    assert all(size % BUCKET == 0 for size in itertools.chain(*sizes))


def test_windows_larger_than_the_grid_are_clipped_and_not_shifted():
    shape = WindowShape.fit((4, 7, 14), (8, 7, 7), shifted=True)
    assert (shape.window, shape.shift) == ((4, 7, 7), (0, 0, 3))


@pytest.mark.parametrize("shifted", [False, True])
def test_windows_in_equal_parts_stand_side_by_side_and_every_window_once(shifted):
    grid = WindowGrid(WindowShape.fit((16, 56, 56), (8, 7, 7), shifted=shifted))
    assert len(grid.alike) == (8 if shifted else 1)
    assert [start for start, _ in grid.alike] == [0, *[end for _, end in grid.alike[:-1]]]
    assert grid.alike[-1][1] == len(grid.parts)
    for start, end in grid.alike:
        together = grid.parts[start:end, :, None] == grid.parts[start:end, None, :]
        assert (together == together[0]).all()
    assert grid.order.flatten().unique().tolist() == list(range(16 * 56 * 56))
