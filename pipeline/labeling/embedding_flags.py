"""The flags of stored features and of heads that classify them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.errors import UsageError
from pipeline.flags import flag

if TYPE_CHECKING:
    from pipeline.run.identity import StoredEmbeddings

_EMBEDDINGS = "embeddings and heads"


@dataclass(frozen=True)
class EmbeddingFlags:
    """What a run stores of the features that its head sees, and which head; fields are flags."""

    embeddings: bool = flag(
        "store the features of each view (its embedding, float16) in clips/, for heads, relabeling "
        "and search without another look at the videos",
        False,
        group=_EMBEDDINGS,
    )
    video_embeddings: bool = flag(
        "--embeddings, and the mean over the views of each video in videos/",
        False,
        group=_EMBEDDINGS,
    )
    head: str | None = flag(
        "head of jobs/train_head.py (local or s3://) that classifies instead of the checkpoint's "
        "own",
        None,
        metavar="FILE",
        group=_EMBEDDINGS,
    )

    def __post_init__(self) -> None:
        if self.head is not None and not self.head:
            raise UsageError("--head needs the name of a file")

    @property
    def stored(self) -> StoredEmbeddings | None:
        """What a run's identity says of them; None if none are stored."""
        if self.video_embeddings:
            return "videos"
        return "views" if self.embeddings else None

    @property
    def needed(self) -> bool:
        """Whether the model's features are stored, or classified by another head."""
        return self.stored is not None or self.head is not None


EMBEDDINGS = tuple(field.name for field in dataclasses.fields(EmbeddingFlags))
"""The attributes that these flags set."""
