"""What the user of a labeling job asked for."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sta
from pipeline.errors import UsageError
from pipeline.execution.failure_limit import FailureLimit
from pipeline.flags import flag, share
from pipeline.inputs.list_options import ListOptions
from pipeline.labeling.embedding_flags import EmbeddingFlags
from pipeline.labeling.machine_flags import WORK, MachineFlags
from pipeline.labeling.pruning_flags import PruningFlags
from pipeline.labeling.report_flags import REPORTS, ReportFlags
from pipeline.prices import Prices
from sta.checkpoints.digests import parse_sha256
from sta.transport.web import allow_private_hosts
from workers.decoding.types import DECODE_MODES, DECODERS, DecodeLimits
from workers.failures import ErrorType
from workers.sampling import PROTOCOLS, parse_seconds, parse_views

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.early_exit.budget import Budget
    from pipeline.inputs.listing import Listing

_MODEL = "model"
_FAILURES = "failures"

# Fields whose flags the jobs of the lab take too.
MODEL = ("checkpoint", "checkpoint_sha256", "architecture", "labels", "label_map")
PROTOCOL = ("protocol", "views")
INPUTS = ("all_files", "follow_links", "allow_private_hosts")
FAILURES = ("max_failed", "retry_failed")
_COUNTS = ("limit", "max_units_per_video")


@dataclass(frozen=True)
class LabelOptions(MachineFlags):
    """What the user asked for: the work, and by `MachineFlags` what does it; fields made by `flag`
    are flags.

    Attributes:
        task: "k400" or "ssv2", which names the protocol.
        source: directory, s3:// prefix, video, archive, list, or a pattern of these.
        output: directory or s3:// prefix.
        pruning: the pruning that is asked for, whose r may depend on the model.
        features: what is stored of the features that the head sees, and which head.
        lists: how a list is read.
        reports: what the report is told of besides the run.
        prices: what machines cost, for the reports and for a budget of money.
        budget: what the run may spend on labeling; needs early_exit.
        flags: what the command line and --config set, for run.json.
    """

    task: str
    source: str
    output: str
    checkpoint: str = flag(
        "fine-tuned weights of VideoMAE, V-JEPA 2, ViViT or VideoSwin: a file, a Hugging Face "
        "directory, a hub id such as MCG-NJU/videomae-base-finetuned-kinetics, s3://bucket/key, "
        "https://..., demo",
        required=False,
        metavar="C",
        group=_MODEL,
    )
    checkpoint_sha256: str | None = flag(
        "expected SHA-256 of the weights, as sha256sum prints it or as `model` in run.json; "
        "other weights are refused before they are parsed (of a directory or hub id: that of its "
        "weights file, or of its sharded files together)",
        None,
        type=parse_sha256,
        metavar="HEX",
        group=_MODEL,
    )
    architecture: str | None = flag(
        "required architecture; a checkpoint of another one is refused: "
        f"{', '.join(sorted(sta.ARCHITECTURES))}",
        None,
        name="arch",
        metavar="A",
        group=_MODEL,
    )
    labels: Path | None = flag(
        "file of class names, for checkpoints that contain none: one name per line, CSV, TSV or "
        "JSON, with or without ids",
        None,
        metavar="F",
        group=_MODEL,
    )
    label_map: Path | None = flag(
        "file that maps the checkpoint's classes to other labels, such as those of Kinetics-710 to "
        "Kinetics-400, and drops classes without one: a JSON list of the class of each label, the "
        "labels, one per line, or lines of a class and its label",
        None,
        metavar="F",
        group=_MODEL,
    )
    pruning: PruningFlags = field(default_factory=PruningFlags)
    features: EmbeddingFlags = field(default_factory=EmbeddingFlags)
    lists: ListOptions = field(default_factory=ListOptions)
    reports: ReportFlags = field(default_factory=ReportFlags)
    protocol: str | None = flag(
        f"how frames and crops are sampled: {', '.join(PROTOCOLS)} (default: the protocol of the "
        "model's published accuracy)",
        None,
        metavar="NAME",
        choices=tuple(PROTOCOLS),
        group=WORK,
    )
    views: tuple[int, int] | None = flag(
        "clips x spatial crops of each video (default: those of the protocol; VideoMAE: 5x3 on "
        "Kinetics-400, 2x3 on SSv2; V-JEPA 2: 8x3 and 2x3; ViViT: 4x3; VideoSwin: 4x3 and 1x3)",
        None,
        type=parse_views,
        metavar="CxS",
        group=WORK,
    )
    every_s: float | None = flag(
        "dense labeling of long recordings: label one clip every T, such as 2s, 500ms or 1m; "
        "recordings are divided into segments, and each segment reads only its part of the file; "
        "--views is then clips per segment x crops (default: 16x1)",
        None,
        name="clip-every",
        type=parse_seconds,
        metavar="T",
        group=WORK,
    )
    early_exit: str | None = flag(
        "file of jobs/calibrate.py (local or s3://), fitted for the same model, pruning and "
        "protocol: the views of a video are evaluated until the top-1/top-2 margin of the averaged "
        "probabilities reaches the threshold in this file, and frames are decoded as the file says",
        None,
        metavar="FILE",
        group=WORK,
    )
    all_files: bool = flag(
        "take every file of a directory or prefix, whatever its extension, unless its first bytes "
        "show that it is not a video (images, text, archives, ...)",
        False,
        group=WORK,
    )
    follow_links: bool = flag(
        "follow links that lead out of a directory; without this flag they are left out and "
        "counted; each file is labeled once, however many links lead to it",
        False,
        group=WORK,
    )
    since: tuple[str, ...] = flag(
        "leave out the videos that an earlier run labeled with the same model and settings, and "
        "those that the earlier run left out in the same way; a video whose size or ETag differs, "
        "or a file that was modified since, is labeled again; may be repeated",
        (),
        metavar="OLD_OUTPUT",
        group=WORK,
        repeated=True,
    )
    limit: int | None = flag(
        "label the first N videos only; with --since, the first N new ones",
        None,
        metavar="N",
        group=WORK,
    )
    allow_private_hosts: bool = flag(
        "read https:// addresses of private, loopback and link-local hosts too, and http:// ones "
        "of such hosts; without it, no list and no redirect can make this cluster ask machines of "
        "its own network",
        False,
        group=WORK,
    )
    shadow_share: float = flag(
        "also label this share of the videos with the unpruned model and all views, such as 0.01 "
        "or 1% (always the same videos); the summary and the reports then show how many labels "
        "agree (default: none)",
        0.0,
        type=share,
        metavar="SHARE",
        group=REPORTS,
    )
    min_agreement: float | None = flag(
        "with --shadow-share: warn if fewer labels agree than this share, such as 98%",
        None,
        type=share,
        metavar="SHARE",
        group=REPORTS,
    )
    gallery: int = flag(
        "number of videos whose kept tokens the run's report shows", 3, metavar="N", group=REPORTS
    )
    max_failed: FailureLimit | None = flag(
        "stop the run when more than this share of the videos fails, such as 5%, which is a sign "
        "of a wrong input (default: never stop)",
        None,
        type=FailureLimit.parse,
        metavar="SHARE",
        group=_FAILURES,
    )
    retry_failed: bool = flag(
        "label again the failed videos of this run whose error may be temporary: "
        + ", ".join(reason for reason in ErrorType if reason.retryable),
        False,
        group=_FAILURES,
    )
    decode: str | None = flag(
        "exact: frames are those of a full decode, to the bit; fast: nearly those, for less work, "
        "which needs an early-exit file that was fitted for it (default: as the file of "
        "--early-exit says; exact without one)",
        None,
        choices=DECODE_MODES,
        group=WORK,
    )
    max_units_per_video: int | None = flag(
        "with --clip-every: segments that a recording may be divided into; one with more fails as "
        "too_large (default: 100,000, and no more clips than 1,000 and 32 for each of its frames)",
        None,
        metavar="N",
        group=WORK,
    )
    prices: Prices | None = None
    budget: Budget | None = None
    flags: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in _COUNTS:
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
        if self.features.head is not None:
            own = {"--labels": self.labels, "--label-map": self.label_map}
            if named := [name for name, value in own.items() if value is not None]:
                raise UsageError(
                    f"--head has labels of its own, and {named[0]} names those of the checkpoint's "
                    "head; leave one of them out"
                )
            if self.early_exit is not None:
                raise UsageError(
                    "--early-exit was fitted for the labels of the checkpoint's own head; leave it "
                    "or --head out"
                )
        if self.every_s is not None and self.decoder != DECODERS[0]:
            raise UsageError(f"--clip-every needs --decoder {DECODERS[0]}")
        if self.decode == DECODE_MODES[1] and self.decoder != DECODERS[0]:
            raise UsageError(
                f"--decode {self.decode} needs --decoder {DECODERS[0]}; got --decoder "
                f"{self.decoder}, which has no other way"
            )

    def listing(self, report: Callable[[int], None] | None = None) -> Listing:
        """Lists the source; `report` is called with the number of videos found so far."""
        from pipeline.inputs.listing import Listing

        if self.allow_private_hosts:
            allow_private_hosts()
        return Listing(
            self.source,
            all_files=self.all_files,
            follow_links=self.follow_links,
            lists=self.lists,
            report=report,
        )

    @property
    def limits(self) -> DecodeLimits:
        """What one unit may cost before it becomes a failure row."""
        usual = DecodeLimits()
        return replace(
            usual,
            seconds=self.decode_s or usual.seconds,
            fetch_seconds=self.fetch_s or usual.fetch_seconds,
            max_units=self.max_units_per_video,
            allow_codecs=self.allow_codec,
            require_sandbox=self.require_sandbox,
            private_hosts=self.allow_private_hosts,
        )
