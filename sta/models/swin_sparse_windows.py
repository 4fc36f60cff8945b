"""The queries and distinct keys of each window for sparse window attention.

A dropped position holds a copy of a kept token. Its query is not computed, since its output is not
used. Its key equals that of the copied token, so all copies within a window are merged into one key
whose weight is the sum of theirs: the position bias of the merged key is the log-sum-exp of the
biases of its copies. Parts of a shifted window that must not attend to each other are computed
separately; dense attention adds -100 to their logits, a weight of e^-100.

The number of queries and keys differs between windows. Regions of similar size are computed
together in a bucket: both numbers are rounded up to a multiple of `BUCKET_STEP`, but not beyond the
positions of the region. This depends on the region alone, so a clip costs the same in any batch,
and never more than with dense attention.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from sta.models.swin_windows import NearestFill, WindowGrid

BUCKET_STEP = 16


@dataclass(frozen=True)
class Bucket:
    """G regions that are computed together; the first Q of the K keys of each are its queries.

    Attributes:
        rows: (G, K) int64, row of each key in the flattened tokens of the batch.
        is_query: (G, Q) bool, False for padding queries.
        relative: (G * Q * R) int, rows of the position-bias table for all copies of the keys,
            ordered by region, query and position; positions are sorted by key.
        offsets: (G * Q * (K + 1)) int, start in `relative` of the copies of each key. The last key
            of each query takes the positions that hold no key.
    """

    rows: Tensor
    is_query: Tensor
    relative: Tensor
    offsets: Tensor


@dataclass(frozen=True)
class SparseWindows:
    """Queries and keys of one stage of one batch.

    Attributes:
        buckets: the regions, by size.
        outputs: (B * M) int64, for each kept token its row in the buckets' concatenated outputs.
        grid: the windows.
    """

    buckets: tuple[Bucket, ...]
    outputs: Tensor
    grid: WindowGrid


@dataclass(frozen=True)
class _Regions:
    """Positions of every region, (B, regions, R), sorted so that copies of a token are adjacent.

    Tokens that were kept in the region come first; they are its queries.

    Attributes:
        row: row of the token in the flattened tokens of the batch, padding last in each clip.
        position: position in the window.
        is_kept: whether this position holds the kept token itself and no copy.
        key: number of the token among the distinct ones of the region; R after its end.
        queries: (B, regions) number of tokens that were kept in the region.
        size: (B, regions, 2) queries and keys to compute, see `BUCKET_STEP`; 0 without queries.
    """

    row: Tensor
    position: Tensor
    is_kept: Tensor
    key: Tensor
    queries: Tensor
    size: Tensor


def sparse_windows(fill: NearestFill, grid: WindowGrid) -> SparseWindows:
    """Plans attention over the kept tokens of a batch.

    The sizes of the regions are copied to the host, once.

    Args:
        fill: grid positions of the kept tokens.
        grid: the windows.
    """
    batch, tokens = fill.indices.shape
    device = fill.indices.device
    regions = _regions(fill, grid)
    by_size: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
    for clip, sizes in enumerate(regions.size.tolist()):
        for region, (queries, keys) in enumerate(sizes):
            if queries:
                by_size[queries, keys].append((clip, region))
    rows = batch * (tokens + grid.shape.is_padded)
    output_of = torch.empty(rows + 1, dtype=torch.int64, device=device)
    buckets, start = [], 0
    for size, members in sorted(by_size.items()):
        bucket = _bucket(regions, grid, members, size)
        queries = bucket.rows[:, : size[0]]
        end = start + queries.numel()
        outputs = torch.arange(start, end, device=device)
        output_of[torch.where(bucket.is_query, queries, rows).flatten()] = outputs
        buckets.append(bucket)
        start = end
    kept = output_of[:-1].view(batch, -1)[:, :tokens].flatten()
    return SparseWindows(tuple(buckets), kept, grid)


def attended_pairs(fill: NearestFill, grid: WindowGrid) -> Tensor:
    """(B,) int64: pairs of a query and a key that `sparse_windows` computes for each clip."""
    pairs: Tensor = _regions(fill, grid).size.prod(dim=-1).sum(dim=1)
    return pairs


def _regions(fill: NearestFill, grid: WindowGrid) -> _Regions:
    batch, tokens = fill.indices.shape
    device = fill.indices.device
    numbers = tokens + 2  # the tokens, padding, and the end of a short region
    ended = grid.regions < 0
    index = grid.order.flatten()[grid.regions.clamp(min=0)]
    token = F.pad(fill.source, (0, 1), value=tokens)[:, index].masked_fill(ended, tokens + 1)
    kept_at = F.pad(fill.indices, (0, 2), value=-1).gather(1, token.flatten(1)).view_as(token)
    is_kept = kept_at == index
    region = torch.arange(len(index), device=device)[:, None]
    foreign = (kept_at < 0) | (grid.region_of[kept_at] != region)
    rank, order = (token + foreign * numbers).sort(dim=-1, stable=True)
    token, foreign = rank % numbers, rank >= numbers
    first = F.pad(rank[..., 1:] != rank[..., :-1], (1, 0), value=True)
    beyond = token > tokens
    queries = (first & ~foreign).sum(dim=-1)
    count = torch.stack([queries, (first & ~beyond).sum(dim=-1)], dim=-1)
    whole = (count + BUCKET_STEP - 1) // BUCKET_STEP * BUCKET_STEP
    size = torch.minimum(whole, (~ended).sum(dim=-1)[:, None]) * (queries > 0)[..., None]
    first_row = torch.arange(batch, device=device)[:, None, None]
    return _Regions(
        row=token + first_row * (tokens + grid.shape.is_padded),
        position=(grid.regions % grid.shape.tokens).expand_as(order).gather(-1, order),
        is_kept=is_kept.gather(-1, order),
        key=(first.long().cumsum(dim=-1) - 1).masked_fill(beyond, ended.shape[-1]),
        queries=queries,
        size=size,
    )


def _bucket(
    regions: _Regions,
    grid: WindowGrid,
    members: list[tuple[int, int]],
    size: tuple[int, int],
) -> Bucket:
    """The bucket of the regions `members` (clip, region), with `size` queries and keys each."""
    count, (queries, keys) = len(members), size
    device = regions.key.device
    longest = max(grid.lengths[region] for _, region in members)
    clip, region = torch.tensor(members, device=device).unbind(1)
    row, position, is_kept, key = (
        entries[clip, region, :longest]
        for entries in (regions.row, regions.position, regions.is_kept, regions.key)
    )
    # Key number K collects the positions that hold no key of the region; below, also non-queries.
    key = key.clamp(max=keys)

    def by_key(values: Tensor, number: Tensor) -> Tensor:
        out = torch.zeros(count, keys + 1, dtype=torch.int64, device=device)
        return out.scatter(1, number, values)

    query_at = by_key(position, torch.where(is_kept, key, keys))[:, :queries]
    relative = grid.relative[query_at[:, :, None], position[:, None, :]]
    every = torch.arange(keys + 1, device=device).expand(count, -1).contiguous()
    begins = torch.searchsorted(key.contiguous(), every)
    line = torch.arange(count * queries, device=device).view(count, queries, 1)
    offsets = line * longest + begins[:, None, :]
    fits = torch.int32 if relative.numel() < 2**31 else torch.int64
    return Bucket(
        rows=by_key(row, key)[:, :keys],
        is_query=every[:, :queries] < regions.queries[clip, region][:, None],
        relative=relative.flatten().to(fits),
        offsets=offsets.flatten().to(fits),
    )
