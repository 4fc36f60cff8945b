"""The flags of the command that relabels a run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import UsageError
from pipeline.flags import argument, flag, share


@dataclass(frozen=True)
class RelabelOptions:
    """What the flags set."""

    run: str = argument(
        "directory or s3://bucket/prefix of a run that was made with --embeddings",
        metavar="OUTPUT",
    )
    output: str = argument(
        "directory or s3://bucket/prefix of the run with the new labels", metavar="NEW_OUTPUT"
    )
    head: str | None = flag(
        "head of jobs/train_head.py (local or s3://) that classifies the embeddings",
        None,
        metavar="FILE",
    )
    checkpoint: str | None = flag(
        "checkpoint with the same backbone, whose head classifies the embeddings; beside --head, "
        "the model of --shadow-share (default for that: the run's)",
        None,
        metavar="CHECKPOINT",
    )
    embeddings: bool = flag("copy the embeddings into NEW_OUTPUT", False)
    shadow_share: float = flag(
        "also label this share of the videos from their files, with the same head, such as 0.01 or "
        "1% (always the same videos), and tell how many labels agree (default: none)",
        0.0,
        type=share,
        metavar="SHARE",
    )
    prices: Path | None = flag(
        "YAML file with the prices of machines, such as infra/prices.yaml, for the report",
        None,
        metavar="FILE",
    )

    def __post_init__(self) -> None:
        if self.head is None and self.checkpoint is None:
            raise UsageError(
                "name what labels: --head FILE, which jobs/train_head.py writes, or --checkpoint "
                "with another head on the same backbone"
            )
        if not 0 <= self.shadow_share <= 1:
            raise UsageError(
                f"--shadow-share must be 0 to 1, such as 0.01 or 1%; got {self.shadow_share:g}"
            )
