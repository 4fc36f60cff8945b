"""The flags of every switch of STA, for all jobs that prune."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import sta
from pipeline.flags import flag
from sta import pruning as switches
from sta.models.configs import ModelConfig

_PRUNING = "pruning (STA, Table 6 of the paper)"
_DEFAULT = sta.Pruning()


@dataclass(frozen=True)
class PruningFlags:
    """The pruning that a user asks for, before the model is known; fields are flags.

    Attributes:
        r: tokens pruned per frame at the first stage; None for the default of the model.

    The others are the fields of `sta.Pruning`.

    Raises:
        ValueError: `sta.Pruning` refuses a value.
    """

    r: int | None = flag(
        "tokens pruned per frame at the first of three stages; 0 for the unpruned model "
        "(default: depends on the model; 64 for a ViT at 224 pixels, which about halves the FLOPs)",
        None,
        metavar="N",
        group=_PRUNING,
    )
    grouping: switches.Grouping = flag(
        "how frames are grouped: as in the authors' released code, or as in the paper's text",
        _DEFAULT.grouping,
        group=_PRUNING,
    )
    direction: switches.Direction = flag(
        "direction in time of each of the three stages: F forward, B backward",
        _DEFAULT.direction,
        group=_PRUNING,
    )
    first_frame: switches.FirstFrame = flag(
        "how the first frame of each stage is pruned, which has no frame to be compared with",
        _DEFAULT.first_frame,
        group=_PRUNING,
    )
    similarity: switches.Similarity = flag(
        "features that are compared between frames: keys, queries, values or MLP inputs (ffn)",
        _DEFAULT.similarity,
        group=_PRUNING,
    )
    schedule: switches.Schedule = flag(
        "how the number of pruned tokens changes from stage to stage",
        _DEFAULT.schedule,
        group=_PRUNING,
    )
    score: switches.Score = flag(
        "score that ranks tokens: STA, one of its two factors, or random numbers",
        _DEFAULT.score,
        group=_PRUNING,
    )
    window_attention: switches.WindowAttention = flag(
        "VideoSwin: attention over kept tokens, or over whole windows",
        _DEFAULT.window_attention,
        group=_PRUNING,
    )
    temperature: float = flag(
        "temperature of the softmax over similarities",
        _DEFAULT.temperature,
        metavar="T",
        group=_PRUNING,
    )
    seed: int = flag(
        "seed of the random choices of pruning",
        _DEFAULT.seed,
        name="pruning-seed",
        metavar="N",
        group=_PRUNING,
    )

    def __post_init__(self) -> None:
        self._with(self.r or 0)

    def of(self, architecture: str | ModelConfig) -> sta.Pruning:
        """The pruning of a model of this architecture or shape; see `sta.default_pruning`."""
        if self.r is not None:
            return self._with(self.r)
        return self._with(sta.default_pruning(architecture, grouping=self.grouping).r)

    def _with(self, r: int) -> sta.Pruning:
        return sta.Pruning(**(dataclasses.asdict(self) | {"r": r}))


PRUNING = tuple(field.name for field in dataclasses.fields(PruningFlags))
"""The attributes that these flags set."""
