"""What the user of a labeling job asked for."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import sta
from pipeline.early_exit.budget import Budget
from pipeline.errors import UsageError
from pipeline.execution.failure_limit import FailureLimit
from pipeline.prices import Prices
from workers.decoding import DECODERS, DecodeLimits


@dataclass(frozen=True)
class LabelOptions:
    """What the user asked for.

    Attributes:
        task: "k400" or "ssv2", which names the protocol.
        source: directory, s3:// prefix, video or manifest.
        output: directory or s3:// prefix.
        checkpoint: source for `sta.load_model`.
        architecture: what the checkpoint must be, None for whatever it is.
        labels: file with class names.
        pruning: pruning, with r None for the architecture's own default.
        r: tokens dropped per frame at the first stage.
        protocol: name of a sampling protocol, None for the model's own.
        views: (clips, crops), None for the protocol's own.
        every_s: seconds between the clips of a timeline, None for clips over the whole video.
        all_files: take files of every name whose first bytes show nothing but a video.
        limit: label at most so many videos.
        max_failed: stop when more units fail, None to go on whatever fails.
        retry_failed: do units again that failed for a reason that may be gone.
        decoder: which decoder.
        fetch_s: seconds that fetching a video from object storage may take, None for the default.
        decode_s: seconds that decoding any video may take, None for the default; long ones that
            must be decoded whole have more, see `DecodeLimits.attempt_seconds`.
        decoders: (min, max) decode actors, AUTO for what fits the rates that are measured, None for
            what the cores allow.
        labelers: label actors.
        max_cpus: cores that an autoscaling cluster can grow to, None for those that are there.
        max_gpus: GPUs that it can grow to.
        batch_size: views per forward pass.
        early_exit: early-exit file of jobs/calibrate.py, local or s3://; None for all
            views of each.
        shadow_share: share of the units that are labeled without pruning too.
        min_agreement: share of those that must keep their label; fewer are warned of.
        prices: what machines cost, for the reports and for a budget of money.
        budget: what the run may spend on labeling; needs early_exit.
        gallery: videos that the run's report shows with their tokens.
        compile: False for labelers that start at once and run uncompiled; None as in
            `LabelerConfig`.
    """

    task: str
    source: str
    output: str
    checkpoint: str
    architecture: str | None = None
    labels: Path | None = None
    pruning: sta.Pruning = field(default_factory=sta.Pruning)
    r: int | None = None
    protocol: str | None = None
    views: tuple[int, int] | None = None
    every_s: float | None = None
    all_files: bool = False
    limit: int | None = None
    max_failed: FailureLimit | None = None
    retry_failed: bool = False
    decoder: str = DECODERS[0]
    fetch_s: float | None = None
    decode_s: float | None = None
    decoders: tuple[int, int] | Literal["auto"] | None = None
    labelers: int | None = None
    max_cpus: int | None = None
    max_gpus: int | None = None
    batch_size: int | None = None
    early_exit: str | None = None
    shadow_share: float = 0.0
    min_agreement: float | None = None
    prices: Prices | None = None
    budget: Budget | None = None
    gallery: int = 3
    compile: Literal[False] | None = None

    def __post_init__(self) -> None:
        for name in ("limit", "labelers", "max_cpus", "max_gpus", "batch_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"--{name.replace('_', '-')} must be 1 or more; got {value}")
        if self.gallery < 0:
            raise UsageError(f"--gallery must be 0 or more; got {self.gallery}")
        if not 0 <= self.shadow_share <= 1:
            raise UsageError(
                f"--shadow-share must be 0 to 1, such as 0.01 or 1%; got {self.shadow_share:g}"
            )
        if self.min_agreement is not None and not 0 < self.min_agreement <= 1:
            raise UsageError(
                f"--min-agreement must be above 0 and at most 1, such as 0.98; got "
                f"{self.min_agreement:g}"
            )
        if self.min_agreement is not None and not self.shadow_share:
            raise UsageError("--min-agreement needs --shadow-share, which measures the agreement")
        if self.budget is not None and self.early_exit is None:
            raise UsageError(
                "--budget-flops and --budget-cost need --early-exit FILE, which says what "
                "fewer views cost in labels; jobs/calibrate.py writes this file"
            )
        if self.budget is not None and self.decoders == "auto":
            raise UsageError(
                "--decoders auto measures on videos of the whole run, and a budget is decided "
                "slice by slice; name how many decoders, or leave it out"
            )
        if self.every_s is not None and self.early_exit is not None:
            raise UsageError(
                "--early-exit saves views of whole videos, and with --clip-every each clip has a "
                "label of its own; leave one of them out"
            )
        if self.every_s is not None and self.decoder != DECODERS[0]:
            raise UsageError(f"--clip-every goes with --decoder {DECODERS[0]} only")

    @property
    def limits(self) -> DecodeLimits:
        """What one unit may cost before it becomes a failure row."""
        usual = DecodeLimits()
        return replace(
            usual,
            seconds=self.decode_s or usual.seconds,
            fetch_seconds=self.fetch_s or usual.fetch_seconds,
        )
