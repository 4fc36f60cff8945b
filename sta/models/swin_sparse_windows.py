"""Which queries and which distinct keys a window needs once its dropped places are filled.

A filled place is a copy of a kept token. Its query need not be computed, since its output is thrown
away. Its key equals that of the token it copies, so all copies within a window are one key whose
weight is the sum of theirs: the position bias of the merged key is the log-sum-exp of the biases of
its copies. Parts of a shifted window that must not see each other are attended to apart; the window
form adds -100 between them, which is a weight of e^-100.

How many queries and keys are left differs from window to window. Regions are computed together with
others of about their size: both numbers are filled up to the next multiple of `BUCKET`, and never
beyond the positions of the region. That depends on the region alone, so a clip costs the same in
any batch, and never more than with its windows filled.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from sta.models.swin_windows import Filling, WindowGrid

BUCKET = 16


@dataclass(frozen=True)
class Bucket:
    """G regions that are computed together, each with K keys, of which the first Q are queries.

    Attributes:
        rows: (G, K) int64, row of each key in the flattened tokens of the batch.
        is_query: (G, Q) bool, where a query is one and no filler.
        relative: (G * Q * R) int, rows of the position-bias table for all copies of the keys: for
            each region, query and position in turn, positions sorted by key.
        offsets: (G * Q * (K + 1)) int, where in `relative` the copies of each key begin. One more
            key per query takes the positions that stand for nothing.
    """

    rows: Tensor
    is_query: Tensor
    relative: Tensor
    offsets: Tensor


@dataclass(frozen=True)
class ExactWindows:
    """All that is attended to in one stage of one batch.

    Attributes:
        buckets: the regions, by size.
        answers: (B * M) int64, where in the buckets' concatenated outputs each token's own stands.
        grid: the windows.
    """

    buckets: tuple[Bucket, ...]
    answers: Tensor
    grid: WindowGrid


@dataclass(frozen=True)
class _Regions:
    """Positions of every region, (B, regions, R), those with the same token side by side.

    Tokens whose own place is in the region come first: they are its queries.

    Attributes:
        row: row of the token in the flattened tokens of the batch, padding last in each clip.
        spot: position in the window.
        own: whether this is the token's own place.
        key: number of the token among the distinct ones of the region; R after its end.
        queries: (B, regions) distinct tokens whose own place is in the region.
        size: (B, regions, 2) queries and keys to compute, see `BUCKET`; 0 where there is no query.
    """

    row: Tensor
    spot: Tensor
    own: Tensor
    key: Tensor
    queries: Tensor
    size: Tensor


def exact_windows(filling: Filling, grid: WindowGrid) -> ExactWindows:
    """Plans attention over the kept tokens of a batch.

    The sizes of the regions are read back from the device, once.

    Args:
        filling: where the kept tokens stand.
        grid: the windows.
    """
    batch, tokens = filling.own.shape
    device = filling.own.device
    regions = _regions(filling, grid)
    by_size: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
    for clip, sizes in enumerate(regions.size.tolist()):
        for region, (queries, keys) in enumerate(sizes):
            if queries:
                by_size[queries, keys].append((clip, region))
    rows = batch * (tokens + grid.shape.is_padded)
    answers = torch.empty(rows + 1, dtype=torch.int64, device=device)
    buckets, start = [], 0
    for size, members in sorted(by_size.items()):
        bucket = _bucket(regions, grid, members, size)
        asked = bucket.rows[:, : size[0]]
        end = start + asked.numel()
        outputs = torch.arange(start, end, device=device)
        answers[torch.where(bucket.is_query, asked, rows).flatten()] = outputs
        buckets.append(bucket)
        start = end
    wanted = answers[:-1].view(batch, -1)[:, :tokens].flatten()
    return ExactWindows(tuple(buckets), wanted, grid)


def attended_pairs(filling: Filling, grid: WindowGrid) -> Tensor:
    """(B,) int64: pairs of a query and a key that `exact_windows` computes for each clip."""
    pairs: Tensor = _regions(filling, grid).size.prod(dim=-1).sum(dim=1)
    return pairs


def _regions(filling: Filling, grid: WindowGrid) -> _Regions:
    batch, tokens = filling.own.shape
    device = filling.own.device
    numbers = tokens + 2  # the tokens, padding, and the end of a short region
    ended = grid.regions < 0
    place = grid.order.flatten()[grid.regions.clamp(min=0)]
    token = F.pad(filling.source, (0, 1), value=tokens)[:, place].masked_fill(ended, tokens + 1)
    own_place = F.pad(filling.own, (0, 2), value=-1).gather(1, token.flatten(1)).view_as(token)
    own = own_place == place
    here = torch.arange(len(place), device=device)[:, None]
    foreign = (own_place < 0) | (grid.home[own_place] != here)
    rank, order = (token + foreign * numbers).sort(dim=-1, stable=True)
    token, foreign = rank % numbers, rank >= numbers
    first = F.pad(rank[..., 1:] != rank[..., :-1], (1, 0), value=True)
    beyond = token > tokens
    queries = (first & ~foreign).sum(dim=-1)
    count = torch.stack([queries, (first & ~beyond).sum(dim=-1)], dim=-1)
    whole = (count + BUCKET - 1) // BUCKET * BUCKET
    size = torch.minimum(whole, (~ended).sum(dim=-1)[:, None]) * (queries > 0)[..., None]
    first_row = torch.arange(batch, device=device)[:, None, None]
    return _Regions(
        row=token + first_row * (tokens + grid.shape.is_padded),
        spot=(grid.regions % grid.shape.tokens).expand_as(order).gather(-1, order),
        own=own.gather(-1, order),
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
    row, spot, own, key = (
        entries[clip, region, :longest]
        for entries in (regions.row, regions.spot, regions.own, regions.key)
    )
    # Number K takes what is no key of the region, and below what is no query.
    key = key.clamp(max=keys)

    def by_key(values: Tensor, number: Tensor) -> Tensor:
        out = torch.zeros(count, keys + 1, dtype=torch.int64, device=device)
        return out.scatter(1, number, values)

    asking = by_key(spot, torch.where(own, key, keys))[:, :queries]
    relative = grid.relative[asking[:, :, None], spot[:, None, :]]
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
