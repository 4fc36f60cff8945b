"""Linear heads: classifiers of the features that a model's own head sees.

A head is trained on stored features (embeddings) and applied to stored or to fresh ones. Both ways
use `LinearHead.probabilities`, on features in `FEATURE_DTYPE`, so that they give the same scores.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load, save

from sta.errors import CheckpointError

if TYPE_CHECKING:
    from sta.models.base import VideoModel

# Half the bytes of float32. bfloat16 has the same size and a quarter of the precision, and neither
# Arrow nor numpy knows it.
FEATURE_DTYPE = np.float16

HeadKind = Literal["softmax", "sigmoid"]
HEAD_KINDS: tuple[HeadKind, ...] = ("softmax", "sigmoid")

_HEAD = "sta.head"
_VERSION = 1
_ARRAYS = ("weight", "bias")

# A head of 20,000 classes and 1408 channels has 110 MB.
_MAX_BYTES = 2**28


@dataclass(frozen=True)
class FeatureSpec:
    """What made the features: those of another model or shape mean something else.

    Attributes:
        backbone: `backbone_fingerprint` of the model.
        architecture: name of its architecture.
        channels: d, values of a feature vector.
        shape: fields of the model's shape, normalization of the pixels included.
        pruning: fields of `sta.Pruning`; only r without pruning.
        precision: what the model computed in; None if that is not known yet.
    """

    backbone: str
    architecture: str
    channels: int
    shape: Mapping[str, Any] = field(default_factory=dict)
    pruning: Mapping[str, Any] = field(default_factory=dict)
    precision: str | None = None

    def incomparable(self, other: FeatureSpec) -> list[str]:
        """Fields that differ, and by which the features mean something else."""
        return [
            name
            for name in ("channels", "backbone", "shape")
            if _plain(getattr(self, name)) != _plain(getattr(other, name))
        ]

    def check_fits(self, other: FeatureSpec, shown: str) -> None:
        """Refuses features of another backbone or shape.

        Args:
            other: of the features at hand.
            shown: what these features belong to, for the message.

        Raises:
            CheckpointError: the head cannot be applied to them.
        """
        for name in self.incomparable(other):
            mine, theirs = getattr(self, name), getattr(other, name)
            if name == "shape":
                different = sorted(
                    key
                    for key in {*mine, *theirs}
                    if _plain(mine.get(key)) != _plain(theirs.get(key))
                )
                mine, theirs = (
                    ", ".join(f"{key} {each.get(key)}" for key in different)
                    for each in (mine, theirs)
                )
            raise CheckpointError(
                f"the head was trained on features of {self.architecture} with {name} {mine}, and "
                f"{shown} has {other.architecture} with {name} {theirs}; train a head on its "
                "embeddings"
            )

    def differences(self, other: FeatureSpec) -> list[str]:
        """What differs and changes features a little, one line each: pruning and precision."""
        return [
            f"the head was trained on features with {name} {_said(getattr(self, name))}; these "
            f"have {name} {_said(getattr(other, name))}"
            for name in ("pruning", "precision")
            if None not in (getattr(self, name), getattr(other, name))
            and _plain(getattr(self, name)) != _plain(getattr(other, name))
        ]


def _plain(value: Any) -> Any:
    """The value as JSON gives it back."""
    return json.loads(json.dumps(value))


def _said(value: Any) -> str:
    if not isinstance(value, Mapping):
        return str(value)
    return ", ".join(f"{name}={each}" for name, each in value.items()) or "none"


@dataclass(frozen=True, eq=False)
class LinearHead:
    """A linear classifier of features.

    Attributes:
        weight: float32 (classes, d).
        bias: float32 (classes,).
        labels: names of the classes.
        features: what made the features that it was trained on.
        kind: "softmax" for one label per video, "sigmoid" for independent ones.
        temperature: what logits are divided by, so that probabilities are calibrated.
        license: of the features' model, where its checkpoint states one; "" otherwise.
        trained: how it was trained and what cross-validation found, as JSON has it.
        trained_on: digests of the videos that it was trained on, as `pipeline.run.video_digests`
            packs them; "" if they are not known.
    """

    weight: npt.NDArray[np.float32]
    bias: npt.NDArray[np.float32]
    labels: tuple[str, ...]
    features: FeatureSpec
    kind: HeadKind = "softmax"
    temperature: float = 1.0
    license: str = ""
    trained: Mapping[str, Any] = field(default_factory=dict)
    trained_on: str = ""

    def __post_init__(self) -> None:
        classes = len(self.labels)
        expected = (classes, self.features.channels)
        if self.weight.shape != expected or self.bias.shape != (classes,):
            raise ValueError(
                f"weight and bias of {classes} labels and {self.features.channels} channels have "
                f"shapes {expected} and {(classes,)}; got {self.weight.shape} and {self.bias.shape}"
            )
        if not classes or len(set(self.labels)) < classes or not all(self.labels):
            raise ValueError("labels must be different names, at least one, and none empty")
        if self.kind not in HEAD_KINDS:
            raise ValueError(f"kind must be {' or '.join(HEAD_KINDS)}; got {self.kind!r}")
        if not (np.isfinite(self.temperature) and self.temperature > 0):
            raise ValueError(f"temperature must be above 0; got {self.temperature!r}")
        if not (np.isfinite(self.weight).all() and np.isfinite(self.bias).all()):
            raise ValueError("weight and bias must be finite")

    @property
    def flops(self) -> int:
        """Multiply-accumulates for one feature vector."""
        return self.weight.size

    @property
    def fingerprint(self) -> str:
        """ "sha256:" and a digest of all that decides a score and its label."""
        said = [self.labels, self.kind, self.temperature, _plain(dataclasses.asdict(self.features))]
        digest = hashlib.sha256(json.dumps(said, sort_keys=True).encode())
        for array in (self.weight, self.bias):
            digest.update(np.ascontiguousarray(array, np.float32).tobytes())
        return f"sha256:{digest.hexdigest()}"

    def probabilities(self, features: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
        """(n, classes) float32 probabilities of features (n, d).

        Features are rounded to FEATURE_DTYPE first, and computed with in float64, so that a result
        does not depend on the rows beside it.
        """
        rounded = features.astype(FEATURE_DTYPE).astype(np.float64)
        logits = (rounded @ self.weight.T.astype(np.float64) + self.bias) / self.temperature
        if self.kind == "sigmoid":
            return np.asarray(0.5 * (1 + np.tanh(0.5 * logits)), np.float32)
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float32)


def head_bytes(head: LinearHead) -> bytes:
    """A head as a safetensors file, with all but its arrays in the metadata."""
    said = {"version": _VERSION} | {
        each.name: getattr(head, each.name)
        for each in dataclasses.fields(head)
        if each.name not in _ARRAYS
    }
    said["features"] = dataclasses.asdict(head.features)
    arrays = {name: np.ascontiguousarray(getattr(head, name), np.float32) for name in _ARRAYS}
    return save(arrays, metadata={_HEAD: json.dumps(said, sort_keys=True)})


def parse_head(content: bytes, shown: str) -> LinearHead:
    """The head in a file that `head_bytes` made.

    Args:
        content: of the file.
        shown: its name, for messages.

    Raises:
        CheckpointError: the file is no head.
    """
    if len(content) > _MAX_BYTES:
        raise CheckpointError(
            f"{shown} has {len(content):,} bytes; a head has {_MAX_BYTES:,} at most"
        )
    try:
        arrays = load(content)
        length = int.from_bytes(content[:8], "little")
        said = json.loads(content[8 : 8 + length]).get("__metadata__", {}).get(_HEAD)
    except (SafetensorError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{shown} is no safetensors file: {error}") from error
    if said is None or arrays.keys() != set(_ARRAYS):
        raise CheckpointError(
            f"{shown} is no head; jobs/train_head.py writes one from a run's embeddings"
        )
    try:
        fields = json.loads(said)
        if (version := fields.pop("version")) != _VERSION:
            raise ValueError(f"it has version {version}, and this program reads {_VERSION}")
        if wrong := [name for name in _ARRAYS if arrays[name].dtype != np.float32]:
            raise ValueError(f"{wrong[0]} must be float32; got {arrays[wrong[0]].dtype}")
        features = FeatureSpec(**fields.pop("features"))
        labels = tuple(map(str, fields.pop("labels")))
        return LinearHead(
            weight=arrays["weight"],
            bias=arrays["bias"],
            labels=labels,
            features=features,
            **fields,
        )
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"{shown} is no head of this program: {error}") from error


def backbone_fingerprint(model: VideoModel) -> str:
    """ "sha256:" and a digest of all weights but the head's, under this package's names.

    Checkpoints that differ in their head alone, or in their layout alone, have the same.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        if not name.startswith("head."):
            digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().data)
    return f"sha256:{digest.hexdigest()}"
