"""What a trials run is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import sta
from pipeline.errors import UsageError
from pipeline.failure_limit import FailureLimit
from pipeline.label_options import LabelOptions
from workers.decoding import DECODERS


@dataclass(frozen=True)
class TrialOptions:
    """What a trials run is asked for.

    Attributes:
        source: directory, s3:// prefix, video or manifest.
        output: directory or s3:// prefix.
        checkpoint: source for `sta.load_model`.
        variants: prunings by name; each is tried on every view.
        sample: try at most so many videos, those with the smallest unit ids. Ids are hashes: the
            sample is the same whoever asks, and a smaller one is a part of every larger one.
        limit: look at the first so many videos of the source only; a sample is taken of these.
        task: "k400" or "ssv2", which names the protocol.
        The others: as in `LabelOptions`.
    """

    source: str
    output: str
    checkpoint: str
    variants: Mapping[str, sta.Pruning]
    sample: int | None = None
    limit: int | None = None
    task: str = "k400"
    architecture: str | None = None
    labels: Path | None = None
    protocol: str | None = None
    views: tuple[int, int] | None = None
    max_failed: FailureLimit | None = None
    retry_failed: bool = False
    decoder: str = DECODERS[0]
    fetch_s: float | None = None
    decoders: tuple[int, int] | Literal["auto"] | None = None
    labelers: int | None = None
    max_cpus: int | None = None
    max_gpus: int | None = None
    batch_size: int | None = None
    compile: Literal[False] | None = None

    def __post_init__(self) -> None:
        if not self.variants:
            raise UsageError("there is nothing to try: name at least one pruning")
        if self.sample is not None and self.sample < 1:
            raise UsageError(f"a sample must be of 1 video or more; got {self.sample}")
        self.labelling()

    def labelling(self) -> LabelOptions:
        """What the machinery of labelling is asked for."""
        return LabelOptions(
            task=self.task,
            source=self.source,
            output=self.output,
            checkpoint=self.checkpoint,
            architecture=self.architecture,
            labels=self.labels,
            protocol=self.protocol,
            views=self.views,
            limit=self.limit,
            max_failed=self.max_failed,
            retry_failed=self.retry_failed,
            decoder=self.decoder,
            fetch_s=self.fetch_s,
            decoders=self.decoders,
            labelers=self.labelers,
            max_cpus=self.max_cpus,
            max_gpus=self.max_gpus,
            batch_size=self.batch_size,
            compile=self.compile,
        )
