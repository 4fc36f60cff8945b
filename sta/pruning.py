"""What to prune, and where: the configuration of STA and the geometry that follows from it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

Grouping = Literal["released", "paper"]
Direction = Literal["FBF", "BFB", "FFF", "BBB"]
FirstFrame = Literal["tome", "random", "grid"]
Similarity = Literal["k", "q", "v", "ffn"]
Schedule = Literal["decreasing", "constant", "increasing"]
Score = Literal["sta", "semantics", "redundancy", "random"]
WindowAttention = Literal["exact", "filled"]

PRUNING_STAGES = 3

# Tokens dropped per frame at each stage, relative to the first (paper, 4.3 "Pruning schedule").
_SCHEDULES: dict[str, tuple[float, float, float]] = {
    "decreasing": (1.0, 0.5, 0.25),
    "constant": (1.0, 1.0, 1.0),
    "increasing": (1.0, 2.0, 4.0),
}

# VideoSwin's stages shrink the frame to a quarter and prune each on its own, so what the schedule
# says there is the share of the frame dropped, relative to the first (paper, 4.1: r, 1.5r/4, 2r/16;
# the other two accumulate the ViT's constant and increasing numbers).
_SWIN_SCHEDULES: dict[str, tuple[float, float, float]] = {
    "decreasing": (1.0, 1.5, 2.0),
    "constant": (1.0, 2.0, 3.0),
    "increasing": (1.0, 3.0, 7.0),
}


def _check(name: str, value: object, allowed: tuple[object, ...]) -> None:
    if value not in allowed:
        listed = ", ".join(repr(choice) for choice in allowed)
        raise ValueError(f"{name} must be one of {listed}; got {value!r}")


@dataclass(frozen=True)
class Pruning:
    """How tokens are pruned by STA (paper, section 3.2 and Table 6).

    Attributes:
        r: tokens dropped per frame at the first stage (the paper's r_1). 0 prunes nothing.
        grouping: "released" follows the authors' code (8 groups of one frame, then 4 of two, then
            2 of four, r tokens per group each time); "paper" follows Algorithm 1 (one frame per
            group at every stage, r, r/2 and r/4 tokens per frame). VideoSwin has one frame per
            group in both, and "released" then only means that the first transition starts from
            all tokens of the first frame, "paper" from the kept ones.
        direction: direction of accumulation at each stage, F from the first frame on, B from the
            last one back (Table 6b).
        first_frame: how the frame that starts the chain is pruned (Table 6a).
        similarity: the projection compared between frames (Table 6c); "ffn" is the normalized
            input of the block's MLP.
        schedule: how the drop number develops over the stages (Table 6d). VideoSwin drops r, then
            1.5r/4 and 2r/16 per frame ("decreasing", paper 4.1), r, 2r/4, 3r/16 ("constant") or
            r, 3r/4, 7r/16 ("increasing").
        score: "sta" is equation 5; "semantics" is (1 - F) alone, "redundancy" is A alone
            (Table 6e); "random" drops by a fixed random order, the baseline of Figure 5.
        temperature: divides the similarities before the softmax of equation 3.
        seed: of everything random here. Random choices are drawn once per model, not per clip, so
            that a video's kept map never depends on what it shared a batch with.
        window_attention: how VideoSwin attends within windows that have lost tokens; the outputs
            are the same. "filled" is the paper's: dropped places hold copies of their nearest
            kept token and the whole window is computed; shapes are static. "exact" computes no
            query of a dropped place and each copied key once; fewer FLOPs, and their number
            depends on where the kept tokens stand. The ViT has no windows and ignores it.
    """

    r: int = 0
    grouping: Grouping = "released"
    direction: Direction = "FBF"
    first_frame: FirstFrame = "tome"
    similarity: Similarity = "k"
    schedule: Schedule = "decreasing"
    score: Score = "sta"
    temperature: float = 1.0
    seed: int = 0
    window_attention: WindowAttention = "exact"

    def __post_init__(self) -> None:
        if not isinstance(self.r, int) or self.r < 0:
            raise ValueError(f"r must be a whole number of tokens, 0 or more; got {self.r!r}")
        _check("grouping", self.grouping, get_args(Grouping))
        _check("direction", self.direction, get_args(Direction))
        _check("first_frame", self.first_frame, get_args(FirstFrame))
        _check("similarity", self.similarity, get_args(Similarity))
        _check("schedule", self.schedule, get_args(Schedule))
        _check("score", self.score, get_args(Score))
        _check("window_attention", self.window_attention, get_args(WindowAttention))
        if not (math.isfinite(self.temperature) and self.temperature > 0):
            raise ValueError(f"temperature must be a number above 0; got {self.temperature!r}")


@dataclass(frozen=True)
class Stage:
    """One pruning stage: `groups` groups of `tokens` tokens each, of which `drop` are dropped.

    Attributes:
        block: ViT: 0-based index of the block after which the stage runs. VideoSwin: 0-based index
            of the hierarchical stage (`layers.<block>`) at whose start it runs.
        groups: number of groups along time; the score is accumulated from group to group.
        tokens: tokens in each group before the stage.
        drop: tokens dropped from each group.
        backward: whether the chain starts at the last group.
    """

    block: int
    groups: int
    tokens: int
    drop: int
    backward: bool

    @property
    def kept(self) -> int:
        """Tokens left in each group after the stage."""
        return self.tokens - self.drop


def vit_stages(
    pruning: Pruning, *, depth: int, slots: int, tokens_per_slot: int
) -> tuple[Stage, ...]:
    """Pruning stages of a ViT, after the blocks 0, L//3 and 2*L//3 (paper, 4.1).

    Args:
        pruning: what to prune; r = 0 gives no stages.
        depth: number of blocks L.
        slots: temporal slots n_t (frames / tubelet).
        tokens_per_slot: spatial tokens n_s.

    Raises:
        ValueError: a stage would drop more than it can; the message names the stage and the
            largest r. Or the slots cannot be grouped as "released" asks.
    """
    if pruning.r == 0:
        return ()
    limit = largest_r(pruning, slots=slots, tokens_per_slot=tokens_per_slot)
    stages = []
    shapes = _shapes(pruning, pruning.r, slots=slots, tokens_per_slot=tokens_per_slot)
    for number, (groups, tokens, drop) in enumerate(shapes, start=1):
        most = _most_droppable(pruning, tokens)
        if drop > most:
            raise ValueError(
                f"r = {pruning.r} is too large: stage {number} would drop {drop} of {tokens} "
                f"tokens per group and can drop {most} at most; the largest r here is {limit}"
            )
        stages.append(
            Stage(
                block=(number - 1) * depth // PRUNING_STAGES,
                groups=groups,
                tokens=tokens,
                drop=drop,
                backward=pruning.direction[number - 1] == "B",
            )
        )
    return tuple(stage for stage in stages if stage.drop > 0)


def largest_r(pruning: Pruning, *, slots: int, tokens_per_slot: int) -> int:
    """The largest r that `vit_stages` accepts for these settings and this token grid."""
    fits = 0
    for r in range(1, tokens_per_slot):
        shapes = _shapes(pruning, r, slots=slots, tokens_per_slot=tokens_per_slot)
        if any(drop > _most_droppable(pruning, tokens) for _, tokens, drop in shapes):
            break
        fits = r
    return fits


def swin_stages(
    pruning: Pruning, *, slots: int, tokens_per_slot: Sequence[int]
) -> tuple[Stage, ...]:
    """Pruning stages of a VideoSwin, at the start of its second to fourth hierarchical stage.

    Every stage prunes the whole frames on its own: the places dropped by the one before are filled
    again when patches merge. A frame may lose all but one of its tokens.

    Args:
        pruning: what to prune; r = 0 gives no stages.
        slots: temporal slots n_t (frames / tubelet).
        tokens_per_slot: spatial tokens n_s of the three stages.

    Raises:
        ValueError: a stage would drop a whole frame; the message names it and the largest r.
    """
    limit = largest_swin_r(pruning, tokens_per_slot=tokens_per_slot)
    drops = _swin_drops(pruning, pruning.r)
    for number, (drop, tokens) in enumerate(zip(drops, tokens_per_slot, strict=True), start=2):
        if drop >= tokens:
            raise ValueError(
                f"r = {pruning.r} is too large: stage {number} would drop {drop} of {tokens} "
                f"tokens per frame and must keep one; the largest r here is {limit}"
            )
    return tuple(
        Stage(
            block=block,
            groups=slots,
            tokens=tokens,
            drop=drop,
            backward=pruning.direction[block - 1] == "B",
        )
        for block, (drop, tokens) in enumerate(zip(drops, tokens_per_slot, strict=True), start=1)
        if drop > 0
    )


def largest_swin_r(pruning: Pruning, *, tokens_per_slot: Sequence[int]) -> int:
    """The largest r that `swin_stages` accepts for these settings and token grids."""
    fits = 0
    for r in range(1, tokens_per_slot[0]):
        drops = _swin_drops(pruning, r)
        if any(drop >= n for drop, n in zip(drops, tokens_per_slot, strict=True)):
            break
        fits = r
    return fits


def _swin_drops(pruning: Pruning, r: int) -> list[int]:
    shares = _SWIN_SCHEDULES[pruning.schedule]
    return [int(r * share / 4**number) for number, share in enumerate(shares)]


def _shapes(
    pruning: Pruning, r: int, *, slots: int, tokens_per_slot: int
) -> list[tuple[int, int, int]]:
    """(groups, tokens per group, tokens dropped per group) of the three stages."""
    if pruning.grouping == "released" and slots % 2 ** (PRUNING_STAGES - 1):
        raise ValueError(
            f"grouping 'released' joins frames in twos and fours and needs a number of temporal "
            f"slots divisible by 4; this model has {slots}. Use grouping='paper', or a number of "
            f"frames that gives a multiple of 4 slots"
        )
    merge = 2 if pruning.grouping == "released" else 1
    shapes = []
    groups, tokens, frames = slots, tokens_per_slot, 1
    for factor in _SCHEDULES[pruning.schedule]:
        drop = int(r * factor * frames)
        shapes.append((groups, tokens, drop))
        groups, tokens, frames = groups // merge, (tokens - drop) * merge, frames * merge
    return shapes


def _most_droppable(pruning: Pruning, tokens: int) -> int:
    """ToMe's first step can only drop candidates, which are every second token."""
    if pruning.first_frame == "tome" and pruning.score != "random":
        return tokens // 2
    return tokens - 1
