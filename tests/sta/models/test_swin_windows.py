"""Attention windows, copies at dropped positions, and the pairs that sparse attention computes."""

import itertools

import pytest
import torch

from sta.models.swin_sparse_windows import BUCKET_STEP, attended_pairs, sparse_windows
from sta.models.swin_windows import WindowGrid, WindowShape, nearest_fill, nearest_kept

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
    t, h, w = shape.grid_size
    order = torch.rand(batch, t, h * w, generator=generator).argsort(dim=-1)
    return order >= drop


def random_fill(shape, drop, **options):
    mask = random_mask(shape, drop=drop, **options)
    return mask, nearest_fill(mask, kept=mask.shape[-1] - drop, width=shape.grid_size[2])


@pytest.mark.parametrize(
    ("height", "width", "kept"), [(5, 7, 4), (7, 7, 1), (14, 14, 80), (1, 6, 2)]
)
def test_the_nearest_kept_position_is_the_closest_and_of_equals_the_lowest(height, width, kept):
    generator = torch.Generator().manual_seed(kept)
    mask = torch.rand(6, height * width, generator=generator).argsort(dim=-1) < kept
    nearest = nearest_kept(mask.view(6, height, width))
    for row, answer in zip(mask, nearest, strict=True):
        left = row.nonzero().flatten().tolist()
        for index in range(height * width):
            y, x = divmod(index, width)
            want = min(left, key=lambda p: ((p // width - y) ** 2 + (p % width - x) ** 2, p))
            assert int(answer[index]) == want


def test_a_dropped_position_halfway_between_two_takes_the_upper_left():
    mask = torch.tensor([[True, False, True], [False, False, False], [True, False, True]])
    assert nearest_kept(mask).tolist() == [0, 0, 2, 0, 0, 2, 6, 6, 8]


def test_dropped_positions_are_filled_from_their_own_frame():
    shape = GRIDS[0]
    mask, filled = random_fill(shape, 150)
    assert (filled.indices.diff(dim=1) > 0).all()
    frame = torch.arange(shape.grid_tokens) // mask.shape[-1]
    source = filled.indices.gather(1, filled.source)
    assert torch.equal(frame[source], frame.expand_as(source))
    kept = mask.flatten(1)
    assert (source == torch.arange(shape.grid_tokens))[kept].all()
    assert kept.gather(1, source).all()


def test_gather_then_expand_returns_the_kept_tokens():
    mask, filled = random_fill(GRIDS[0], 60)
    x = torch.randn(2, mask[0].numel(), 3)
    expanded = filled.expand(filled.gather(x))
    assert torch.equal(expanded[mask.flatten(1)], x[mask.flatten(1)])


@pytest.mark.parametrize("shape", GRIDS, ids=str)
def test_every_grid_index_is_in_one_window_and_the_rest_is_padding(shape):
    order = WindowGrid(shape).order
    assert order.shape == (shape.count, shape.tokens)
    shown = order[order < shape.grid_tokens]
    assert shown.sort().values.tolist() == list(range(shape.grid_tokens))
    assert bool((order == shape.grid_tokens).any()) == shape.is_padded


@pytest.mark.parametrize("shape", GRIDS, ids=str)
def test_regions_split_the_windows_and_never_join_opposite_borders(shape):
    grid = WindowGrid(shape)
    positions = grid.regions[grid.regions >= 0]
    assert positions.sort().values.tolist() == list(range(shape.count * shape.tokens))
    _, h, w = shape.grid_size
    for region in grid.regions:
        indices = grid.order.flatten()[region[region >= 0]]
        indices = indices[indices < shape.grid_tokens]
        if len(indices):
            frame, row, column = indices // (h * w), indices // w % h, indices % w
            for axis, size in zip((frame, row, column), shape.window_size, strict=True):
                assert int(axis.max() - axis.min()) < size


@pytest.mark.parametrize("shape", GRIDS, ids=str)
@pytest.mark.parametrize("share", [0.0, 0.2, 0.6, 0.95])
def test_every_kept_token_is_one_query_with_every_distinct_key_of_its_region(shape, share):
    grid = WindowGrid(shape)
    mask, filled = random_fill(shape, int(share * shape.grid_size[1] * shape.grid_size[2]))
    batch, tokens = filled.indices.shape
    windows = sparse_windows(filled, grid)
    per_clip = tokens + shape.is_padded
    queried = torch.cat(
        [b.rows[:, : b.is_query.shape[1]][b.is_query].flatten() for b in windows.buckets]
    )
    every = (torch.arange(batch)[:, None] * per_clip + torch.arange(tokens)).flatten()
    assert torch.equal(queried.sort().values, every)
    for bucket in windows.buckets:
        count, keys = bucket.rows.shape
        queries = bucket.is_query.shape[1]
        ends = torch.cat([bucket.offsets[1:], torch.tensor([len(bucket.relative)])])
        copies = (ends - bucket.offsets).view(count, queries, keys + 1)[:, 0, :keys]
        for row, is_query, copied in zip(bucket.rows, bucket.is_query, copies, strict=True):
            clip, number = divmod(int(row[0]), per_clip)
            region = grid.region_of[filled.indices[clip, number]]
            indices = grid.order.flatten()[grid.regions[region][grid.regions[region] >= 0]]
            source = torch.cat([filled.source[clip], torch.tensor([tokens])])[indices]
            held, times = source.unique(return_counts=True)
            numbers = (row - clip * per_clip).tolist()
            found = {key: n for key, n in zip(numbers, copied.tolist(), strict=True) if n}
            assert found == dict(zip(held.tolist(), times.tolist(), strict=True))
            own = mask[clip].flatten()[indices[indices < shape.grid_tokens]]
            assert int(is_query.sum()) == int(own.sum())


@pytest.mark.parametrize("shape", GRIDS, ids=str)
@pytest.mark.parametrize("drop", [1, 5, 20])
def test_sparse_attention_never_computes_more_pairs_than_dense(shape, drop):
    _, filled = random_fill(shape, drop)
    pairs = attended_pairs(filled, WindowGrid(shape))
    assert (pairs <= shape.count * shape.tokens**2).all()


@pytest.mark.parametrize("shape", GRIDS, ids=str)
def test_pairs_are_those_of_the_buckets_and_of_each_clip_alone(shape):
    grid = WindowGrid(shape)
    mask, filled = random_fill(shape, 12, batch=3)
    pairs = attended_pairs(filled, grid)
    computed = sum(
        b.rows.numel() * b.is_query.shape[1] for b in sparse_windows(filled, grid).buckets
    )
    assert int(pairs.sum()) == computed
    alone = nearest_fill(mask[1:2], kept=mask.shape[-1] - 12, width=shape.grid_size[2])
    assert attended_pairs(alone, grid).tolist() == [int(pairs[1])]


def test_a_window_over_whole_frames_needs_the_kept_tokens_alone():
    shape = WindowShape.fit((16, 7, 7), (8, 7, 7), shifted=True)
    _, filled = random_fill(shape, 33)
    windows = sparse_windows(filled, WindowGrid(shape))
    sizes = {(b.rows.shape[1], b.is_query.shape[1]) for b in windows.buckets}
    assert sizes == {(8 * 16, 8 * 16), (4 * 16, 4 * 16)}
    assert all(size % BUCKET_STEP == 0 for size in itertools.chain(*sizes))


def test_windows_larger_than_the_grid_are_clipped_and_not_shifted():
    shape = WindowShape.fit((4, 7, 14), (8, 7, 7), shifted=True)
    assert (shape.window_size, shape.shift_size) == ((4, 7, 7), (0, 0, 3))


@pytest.mark.parametrize("shifted", [False, True])
def test_windows_with_equal_parts_are_consecutive_and_every_window_is_there_once(shifted):
    grid = WindowGrid(WindowShape.fit((16, 56, 56), (8, 7, 7), shifted=shifted))
    assert len(grid.equal_parts) == (8 if shifted else 1)
    assert [start for start, _ in grid.equal_parts] == [
        0,
        *[end for _, end in grid.equal_parts[:-1]],
    ]
    assert grid.equal_parts[-1][1] == len(grid.parts)
    for start, end in grid.equal_parts:
        together = grid.parts[start:end, :, None] == grid.parts[start:end, None, :]
        assert (together == together[0]).all()
    assert grid.order.flatten().unique().tolist() == list(range(16 * 56 * 56))
