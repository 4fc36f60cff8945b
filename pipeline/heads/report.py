"""What is known of a trained head, as data: of --json, and of the head's own file."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pipeline.heads.calibration import Calibration
from pipeline.heads.choice import FEW
from pipeline.heads.learning_curve import LearningCurve
from pipeline.heads.measures import Accuracy
from sta.heads import HeadKind


@dataclass(frozen=True)
class HeadReport:
    """How a head was trained, and how good it is on videos that it has not seen.

    Attributes:
        run_id: of the run.
        checkpoint: of the run's model, without secrets.
        videos: labeled videos.
        views: of these videos.
        kind: of the head.
        method: how it was fitted.
        methods_tried: methods and strengths that cross-validation chose from.
        folds_methods: how the heads of cross-validation were fitted.
        accuracy: by nested cross-validation.
        calibration: of these scores.
        temperature: of the head.
        curve: accuracy by the number of labels; None where there are too few.
        left_out: rows of the list that were not used, by reason.
        notes: what a reader must know, one sentence each.
        license: of the model, as its checkpoint states it; "" if it states none.
        labels_license: of the labels, as the command states it.
        seed: of all random numbers.
    """

    run_id: str
    checkpoint: str
    videos: int
    views: int
    kind: HeadKind
    method: str
    methods_tried: int
    folds_methods: tuple[str, ...]
    accuracy: Accuracy
    calibration: Calibration
    temperature: float
    curve: LearningCurve | None
    left_out: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    license: str = ""
    labels_license: str = ""
    seed: int = 0

    @property
    def few(self) -> list[str]:
        """Names of classes with too few labels to trust what is said of them."""
        return [each.name for each in self.accuracy.classes if each.labels < FEW]

    def to_json(self) -> dict[str, Any]:
        """The JSON object; what was not measured is null."""
        content = _json(dataclasses.asdict(self) | {"few_labels": self.few})
        assert isinstance(content, dict)
        return content


def _json(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _json(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_json(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
