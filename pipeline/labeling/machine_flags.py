"""The flags of how videos are decoded and labeled, and by how many actors on which machines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pipeline.errors import UsageError
from pipeline.execution.pools import AUTO, parse_decoders
from pipeline.flags import flag
from workers.decoding.types import DECODERS, NVDEC
from workers.precisions import PRECISIONS, Precision
from workers.sampling import parse_seconds

WORK = "work"
_COUNTS = ("labelers", "drivers", "max_cpus", "max_gpus", "batch_size")


def allowed_codecs(text: str) -> tuple[str, ...]:
    """FFmpeg's names of video codecs, given their names or those of decoders, with commas.

    Raises:
        ValueError: FFmpeg does not decode one; the message has the nearest name.
    """
    from workers.decoding.codecs import checked_codec  # loads FFmpeg, which few commands need

    return tuple(checked_codec(name.strip()) for name in text.split(","))


@dataclass(frozen=True, kw_only=True)
class MachineFlags:
    """Decoders, labelers and the machines that they run on; fields are flags, which the jobs of the
    lab take too.

    Attributes:
        decoders: (min, max) decode actors, AUTO for what fits the rates that are measured, None for
            what the cores allow.

    Raises:
        UsageError: a count is below 1, or two flags do not go together.
    """

    decoder: str = flag(
        "what decodes videos; nvdec is the video engine of an NVIDIA GPU, for nodes with few cores",
        DECODERS[0],
        choices=DECODERS,
        group=WORK,
    )
    fetch_s: float | None = flag(
        "time limit for fetching one video from object storage, retries included, such as 10m for "
        "large files (default: 2m)",
        None,
        name="fetch-timeout",
        type=parse_seconds,
        metavar="T",
        group=WORK,
    )
    decode_s: float | None = flag(
        "time limit for decoding one fetched video, and for a decoder that makes no progress, such "
        "as 10m (default: 1m); if many frames must be decoded, the limit grows with the bytes and "
        "frames of the video, up to an hour",
        None,
        name="decode-timeout",
        type=parse_seconds,
        metavar="T",
        group=WORK,
    )
    allow_codec: tuple[str, ...] = flag(
        "video codecs that are decoded besides the usual ones, by FFmpeg's names, such as cinepak "
        "or cinepak,vp6f (default: none)",
        (),
        type=allowed_codecs,
        metavar="NAMES",
        group=WORK,
    )
    decoders: tuple[int, int] | Literal["auto"] | None = flag(
        "number of decode actors (default: as many as the cores allow); auto measures on a sample "
        "how many keep the labelers busy",
        None,
        type=parse_decoders,
        metavar="N|MIN:MAX|auto",
        group=WORK,
    )
    labelers: int | None = flag(
        "number of label actors (default: one per GPU; without GPUs one per core, fewer for small "
        "runs)",
        None,
        metavar="N",
        group=WORK,
    )
    drivers: int | None = flag(
        "number of drivers, each with a Ray Data graph over a slice of the videos; one passes some "
        "hundred videos a second (default: as many as the labelers can need, at most one for "
        "every two cores of this machine)",
        None,
        metavar="N",
        group=WORK,
    )
    require_sandbox: bool = flag(
        "refuse machines whose kernel lacks a part of the decoders' sandbox (Landlock, seccomp); "
        "without it the job says what is missing and goes on",
        False,
        group=WORK,
    )
    max_cpus: int | None = flag(
        "number of cores that an autoscaling cluster can grow to: actor pools are sized for it, "
        "and wait for the cores (default: the cores of the cluster now)",
        None,
        metavar="N",
        group=WORK,
    )
    max_gpus: int | None = flag(
        "number of GPUs that an autoscaling cluster can grow to (default: the GPUs of the cluster "
        "now)",
        None,
        metavar="N",
        group=WORK,
    )
    precision: str = flag(
        "number format of the model's matrix products; auto: that of the run that is resumed or of "
        "the --early-exit file, else bfloat16 on GPUs and where every processor that labels has "
        "instructions for it (AVX512-BF16, AMX, Arm BF16), else float32",
        AUTO,
        choices=(AUTO, *PRECISIONS),
        group=WORK,
    )
    batch_size: int | None = flag(
        "views per forward pass (default: 32 on a GPU, 8 on a CPU, fewer in a run of few views and "
        "of clips of more than 32 frames of 224 pixels)",
        None,
        metavar="N",
        group=WORK,
    )
    compile: Literal[False] | None = flag(
        "on GPUs, do not compile the model: starts sooner but labels slower; for runs of a few "
        "minutes",
        None,
        name="no-compile",
        group=WORK,
    )

    def __post_init__(self) -> None:
        for name in _COUNTS:
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"--{name.replace('_', '-')} must be 1 or more; got {value}")
        if self.require_sandbox and self.decoder == NVDEC:
            raise UsageError(
                f"--require-sandbox refuses --decoder {NVDEC}, whose processes go without a part "
                f"of the sandbox, since a GPU's driver opens device files; use --decoder "
                f"{DECODERS[0]}"
            )

    @property
    def chosen_precision(self) -> Precision | None:
        """The precision that was asked for; None for auto."""
        return next((each for each in PRECISIONS if each == self.precision), None)
