"""Settings of STA, and the pruning stages that follow from them for a token grid."""

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
WindowAttention = Literal["sparse", "dense"]

PRUNING_STAGES = 3

# Tokens dropped per frame at each stage, relative to the first (paper, 4.3 "Pruning schedule").
_SCHEDULES: dict[str, tuple[float, float, float]] = {
    "decreasing": (1.0, 0.5, 0.25),
    "constant": (1.0, 1.0, 1.0),
    "increasing": (1.0, 2.0, 4.0),
}

# VideoSwin's frames shrink to a quarter from stage to stage, and each stage prunes the whole frame.
# Its schedule is therefore the share of the frame that is dropped, relative to the first stage
# (paper, 4.1: r, 1.5r/4, 2r/16; the other two add up the ViT's constant and increasing numbers).
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
            2 of four; r tokens are dropped per group each time). "paper" follows Algorithm 1 (one
            frame per group at every stage; r, r/2 and r/4 tokens are dropped per frame). VideoSwin
            has one frame per group in both. There, the first transition starts from all tokens of
            the first frame with "released", and from its kept tokens with "paper".
        direction: direction of accumulation at each stage: F from the first frame forward, B from
            the last frame backward (Table 6b).
        first_frame: how the frame that starts the accumulation is pruned (Table 6a).
        similarity: the projection compared between frames (Table 6c); "ffn" is the normalized
            input of the block's MLP.
        schedule: how many tokens later stages drop, relative to the first (Table 6d). VideoSwin
            drops r, 1.5r/4, 2r/16 per frame ("decreasing", paper 4.1), r, 2r/4, 3r/16 ("constant")
            or r, 3r/4, 7r/16 ("increasing").
        score: "sta" is equation 5; "semantics" is (1 - F) alone, "redundancy" is A alone
            (Table 6e); "random" drops tokens at random, the baseline of Figure 5.
        temperature: divides the similarities before the softmax of equation 3.
        seed: random seed. Random selections are drawn once per model and not per clip, so that the
            kept tokens of a clip do not depend on the other clips of its batch.
        window_attention: how VideoSwin computes attention in windows that have lost tokens. Both
            give the same outputs. "dense" is the paper's: copies of the nearest kept token stand in
            for dropped tokens, the whole window is computed, and shapes are static. "sparse" skips
            the queries of dropped tokens and computes each copied key once: fewer FLOPs, whose
            number depends on the clip. A ViT has no windows and ignores this field.
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
    window_attention: WindowAttention = "sparse"

    def __post_init__(self) -> None:
        if type(self.r) is not int or self.r < 0:
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
class PruningStage:
    """One pruning stage: from each of `groups` groups of `tokens` tokens, `drop` are dropped.

    Attributes:
        block: ViT: 0-based index of the block after which the stage runs. VideoSwin: 0-based index
            of the hierarchical stage (`layers.<block>`) at whose start it runs.
        groups: number of groups along time; the score is accumulated from group to group.
        tokens: tokens in each group before the stage.
        drop: tokens dropped from each group.
        backward: whether accumulation starts at the last group.
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
    pruning: Pruning, *, depth: int, temporal_positions: int, spatial_tokens: int
) -> tuple[PruningStage, ...]:
    """Pruning stages of a ViT, after the blocks 0, L//3 and 2*L//3 (paper, 4.1).

    Args:
        pruning: what to prune; r = 0 gives no stages.
        depth: number of blocks L.
        temporal_positions: temporal positions n_t (frames / tubelet_size).
        spatial_tokens: spatial tokens n_s at each temporal position.

    Raises:
        ValueError: a stage would drop too many tokens; the message names the stage and the largest
            r. Or grouping "released" does not divide the temporal positions.
    """
    if pruning.r == 0:
        return ()
    limit = largest_r(pruning, temporal_positions=temporal_positions, spatial_tokens=spatial_tokens)
    stages = []
    shapes = _shapes(
        pruning, pruning.r, temporal_positions=temporal_positions, spatial_tokens=spatial_tokens
    )
    for number, (groups, tokens, drop) in enumerate(shapes, start=1):
        most = _max_drop(pruning, tokens)
        if drop > most:
            raise ValueError(
                f"r = {pruning.r} is too large: stage {number} would drop {drop} of {tokens} "
                f"tokens per group and can drop at most {most}; the largest r for this model is "
                f"{limit}"
            )
        stages.append(
            PruningStage(
                block=(number - 1) * depth // PRUNING_STAGES,
                groups=groups,
                tokens=tokens,
                drop=drop,
                backward=pruning.direction[number - 1] == "B",
            )
        )
    return tuple(stage for stage in stages if stage.drop > 0)


def largest_r(pruning: Pruning, *, temporal_positions: int, spatial_tokens: int) -> int:
    """The largest r that `vit_stages` accepts for these settings and this token grid."""
    fits = 0
    for r in range(1, spatial_tokens):
        shapes = _shapes(
            pruning, r, temporal_positions=temporal_positions, spatial_tokens=spatial_tokens
        )
        if any(drop > _max_drop(pruning, tokens) for _, tokens, drop in shapes):
            break
        fits = r
    return fits


def swin_stages(
    pruning: Pruning, *, temporal_positions: int, spatial_tokens: Sequence[int]
) -> tuple[PruningStage, ...]:
    """Pruning stages of a VideoSwin, at the start of its second to fourth hierarchical stage.

    Each stage prunes whole frames, since patch merging fills the grid positions that the stage
    before dropped. A frame may lose all but one of its tokens.

    Args:
        pruning: what to prune; r = 0 gives no stages.
        temporal_positions: temporal positions n_t (frames / tubelet_size).
        spatial_tokens: spatial tokens n_s per frame at each of the three stages.

    Raises:
        ValueError: a stage would drop a whole frame; the message names the stage and the largest r.
    """
    limit = largest_swin_r(pruning, spatial_tokens=spatial_tokens)
    drops = _swin_drops(pruning, pruning.r)
    for number, (drop, tokens) in enumerate(zip(drops, spatial_tokens, strict=True), start=2):
        if drop >= tokens:
            raise ValueError(
                f"r = {pruning.r} is too large: stage {number} would drop {drop} of {tokens} "
                f"tokens per frame and must keep one; the largest r for this model is {limit}"
            )
    return tuple(
        PruningStage(
            block=block,
            groups=temporal_positions,
            tokens=tokens,
            drop=drop,
            backward=pruning.direction[block - 1] == "B",
        )
        for block, (drop, tokens) in enumerate(zip(drops, spatial_tokens, strict=True), start=1)
        if drop > 0
    )


def largest_swin_r(pruning: Pruning, *, spatial_tokens: Sequence[int]) -> int:
    """The largest r that `swin_stages` accepts for these settings and token grids."""
    fits = 0
    for r in range(1, spatial_tokens[0]):
        drops = _swin_drops(pruning, r)
        if any(drop >= n for drop, n in zip(drops, spatial_tokens, strict=True)):
            break
        fits = r
    return fits


def _swin_drops(pruning: Pruning, r: int) -> list[int]:
    shares = _SWIN_SCHEDULES[pruning.schedule]
    return [int(r * share / 4**number) for number, share in enumerate(shares)]


def _shapes(
    pruning: Pruning, r: int, *, temporal_positions: int, spatial_tokens: int
) -> list[tuple[int, int, int]]:
    """(groups, tokens per group, tokens dropped per group) of the three stages."""
    if pruning.grouping == "released" and temporal_positions % 2 ** (PRUNING_STAGES - 1):
        raise ValueError(
            "grouping 'released' needs clips whose number of temporal positions (frames / "
            f"tubelet_size) is divisible by 4; got {temporal_positions}. Use grouping='paper' or "
            "another number of frames"
        )
    merge = 2 if pruning.grouping == "released" else 1
    shapes = []
    groups, tokens, frames = temporal_positions, spatial_tokens, 1
    for factor in _SCHEDULES[pruning.schedule]:
        drop = int(r * factor * frames)
        shapes.append((groups, tokens, drop))
        groups, tokens, frames = groups // merge, (tokens - drop) * merge, frames * merge
    return shapes


def _max_drop(pruning: Pruning, tokens: int) -> int:
    """ToMe's matching can only drop candidates, which are every second token."""
    if pruning.first_frame == "tome" and pruning.score != "random":
        return tokens // 2
    return tokens - 1
