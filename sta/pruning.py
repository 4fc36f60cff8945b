"""What to prune, and where: the configuration of STA and the geometry that follows from it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

Grouping = Literal["released", "paper"]
Direction = Literal["FBF", "BFB", "FFF", "BBB"]
FirstFrame = Literal["tome", "random", "grid"]
Similarity = Literal["k", "q", "v", "ffn"]
Schedule = Literal["decreasing", "constant", "increasing"]
Score = Literal["sta", "semantics", "redundancy", "random"]

PRUNING_STAGES = 3

# Tokens dropped per frame at each stage, relative to the first (paper, 4.3 "Pruning schedule").
_SCHEDULES: dict[str, tuple[float, float, float]] = {
    "decreasing": (1.0, 0.5, 0.25),
    "constant": (1.0, 1.0, 1.0),
    "increasing": (1.0, 2.0, 4.0),
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
            group at every stage, r, r/2 and r/4 tokens per frame).
        direction: direction of accumulation at each stage, F from the first frame on, B from the
            last one back (Table 6b).
        first_frame: how the frame that starts the chain is pruned (Table 6a).
        similarity: the projection compared between frames (Table 6c); "ffn" is the normalised
            input of the block's MLP.
        schedule: how the drop number develops over the stages (Table 6d).
        score: "sta" is equation 5; "semantics" is (1 - F) alone, "redundancy" is A alone
            (Table 6e); "random" drops by a fixed random order, the baseline of Figure 5.
        temperature: divides the similarities before the softmax of equation 3.
        seed: of everything random here. Random choices are drawn once per model, not per clip, so
            that a video's kept map never depends on what it shared a batch with.
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

    def __post_init__(self) -> None:
        if not isinstance(self.r, int) or self.r < 0:
            raise ValueError(f"r must be a whole number of tokens, 0 or more; got {self.r!r}")
        _check("grouping", self.grouping, get_args(Grouping))
        _check("direction", self.direction, get_args(Direction))
        _check("first_frame", self.first_frame, get_args(FirstFrame))
        _check("similarity", self.similarity, get_args(Similarity))
        _check("schedule", self.schedule, get_args(Schedule))
        _check("score", self.score, get_args(Score))
        if not (math.isfinite(self.temperature) and self.temperature > 0):
            raise ValueError(f"temperature must be a number above 0; got {self.temperature!r}")


@dataclass(frozen=True)
class Stage:
    """One pruning stage: `groups` groups of `tokens` tokens each, of which `drop` are dropped.

    Attributes:
        block: 0-based index of the block after which the stage runs.
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
