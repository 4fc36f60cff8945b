"""What limits a night first with 1, 8, 64 and 512 GPUs, by the planner's simulation.

    python -m tests.scale.many_gpus
    python -m tests.scale.many_gpus --gpu-tflops 55 --decode-s 0.1

Prints the table of infra/README.md, where each input's source stands. There are as many decoders as
keep the GPUs busy, and as many videos as the GPUs would label in a night, or as one run may have.
`python -m tests.scale.graph_rows` measures what a driver does.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

import sta
from pipeline.formatting import clock
from pipeline.planner.cluster import Rented, rent, scenario_for
from pipeline.planner.local_pools import buffered_units, grain_rule
from pipeline.planner.predict import Prediction, Terms, predict
from pipeline.planner.rates import (
    PRUNED,
    DecodeCosts,
    LabelingRate,
    Machine,
    MeasuredRates,
    Workload,
)
from pipeline.planner.scenario import Limits
from workers.sampling import Protocol

GPUS = (1, 8, 64, 512)
_R = 64
_PROTOCOL = Protocol("videomae-k400", clips=5, crops=3)
_WORDS = {
    "labelers": "GPUs",
    "storage requests": "requests",
    "storage bandwidth": "bandwidth",
    "driver (rows)": "driver",
}
# The label group of infra/: 8 cores of which Ray is told 6, 15 GiB for its actors, one GPU.
_MACHINE = Machine("as in infra/", cpus=6, cores_left=6, memory=15 * 2**30, gpus=1)


@dataclass(frozen=True)
class Inputs:
    """What is put in; infra/README.md says which of it was measured, and with what.

    Attributes:
        gpu_tflops: 10^12 FLOPs per second that a GPU does of the model.
        decode_s: core-seconds of decoding a video.
        megabytes: of a video.
        rows_per_s: videos per second that one driver takes through the graph.
        commits_per_s: files of results per second.
        requests_per_s: GET per second that the storage answers, for all runs together.
        storage_mb_per_s: megabytes per second that it gives; None for no limit.
        listed_per_s: objects per second that one process lists.
        labeler_start_s: from a labeler's start until it works, model and compilation included.
        preemptions: machines lost per machine and hour.
        hours: of a night.
        most_videos: of one run; a larger night is several, one after the other.
    """

    gpu_tflops: float = 28.0
    decode_s: float = 0.7
    megabytes: float = 3.0
    rows_per_s: float = 400.0
    commits_per_s: float = 7.0
    requests_per_s: float = 5500.0
    storage_mb_per_s: float | None = None
    listed_per_s: float = 10_000.0
    labeler_start_s: float = 120.0
    preemptions: float = 0.05
    hours: float = 8.0
    most_videos: float = 5e6

    @property
    def unit_s(self) -> float:
        """Seconds that a GPU takes for a video."""
        flops = 2 * sta.estimate_flops("vit_base", pruning=sta.Pruning(r=_R)) * _PROTOCOL.views
        return flops / (1e12 * self.gpu_tflops)

    @property
    def limits(self) -> Limits:
        """What more machines do not raise."""
        bandwidth = self.storage_mb_per_s
        return Limits(
            storage_bytes_per_s=None if bandwidth is None else 1e6 * bandwidth,
            storage_requests_per_s=self.requests_per_s,
            rows_per_s=self.rows_per_s,
            commits_per_s=self.commits_per_s,
        )


@dataclass(frozen=True)
class Night:
    """A night of one run on so many GPUs, with so many drivers."""

    gpus: int
    drivers: int
    videos: int
    rented: Rented
    prediction: Prediction

    @property
    def bottleneck(self) -> str:
        """What could do least."""
        return _WORDS.get(self.prediction.bottleneck, self.prediction.bottleneck)

    @property
    def videos_per_s(self) -> float:
        """While the graph runs."""
        return self.videos / self.prediction.graph_s


def night(inputs: Inputs, gpus: int, drivers: int) -> Night:
    """Simulates a run."""
    videos = round(min(gpus * 3600 * inputs.hours / inputs.unit_s, inputs.most_videos))
    rates, terms = _rates(inputs), _terms(inputs, videos, drivers)
    labeling = rates.labelings[0]
    rented = rent(rates, labeling, terms, gpus, 1.0)
    scenario = scenario_for(rates, labeling, terms, rented)
    prediction = predict(rates, labeling, terms, scenario)
    return Night(gpus, drivers, videos, rented, prediction)


def fewest_drivers(inputs: Inputs, gpus: int) -> int:
    """Drivers that keep up with the GPUs."""
    return math.ceil(gpus / max(1, math.floor(inputs.rows_per_s * inputs.unit_s)))


def table(inputs: Inputs, counts: Sequence[int] = GPUS) -> str:
    """The table of infra/README.md."""
    alone = [night(inputs, gpus, 1) for gpus in counts]
    apart = [night(inputs, gpus, fewest_drivers(inputs, gpus)) for gpus in counts]

    def row(title: str, nights: list[Night], cell: Callable[[Night], str]) -> str:
        return f"| {title} | {' | '.join(cell(each) for each in nights)} |"

    def could(part: str) -> Callable[[Night], str]:
        return lambda each: f"{each.prediction.capacities[part]:,.0f}"

    limited = inputs.storage_mb_per_s is not None
    return "\n".join(
        [
            row("GPUs", alone, lambda each: f"{each.gpus:,}"),
            f"|{'---|' * (1 + len(counts))}",
            row("decoders, a core each", alone, lambda each: f"{each.rented.decoders:,}"),
            row("videos a second: the GPUs could do", alone, could("labelers")),
            row("... one driver", alone, could("driver (rows)")),
            row("... one prefix of S3, GET", alone, could("storage requests")),
            *([row("... bandwidth", alone, could("storage bandwidth"))] if limited else []),
            row("... commits", alone, could("commits")),
            row("**first bottleneck, one driver**", alone, lambda each: f"**{each.bottleneck}**"),
            row("videos a second", alone, lambda e: f"{e.videos_per_s:,.0f}"),
            row("GPUs busy", alone, _busy),
            row("`--drivers` instead", apart, lambda each: f"{each.drivers}"),
            row("videos a second then", apart, lambda each: f"{each.videos_per_s:,.0f}"),
            row("GPUs busy then", apart, _busy),
            row("first bottleneck then", apart, lambda each: each.bottleneck),
            row("videos of the run", apart, lambda each: f"{each.videos / 1e6:.2g} million"),
            row("... its listing, start, tables and verification", apart, _around),
        ]
    )


def _busy(each: Night) -> str:
    return f"{100 * each.prediction.outcome.labelers_busy:.0f} %"


def _around(each: Night) -> str:
    return clock(each.prediction.before_s + each.prediction.after_s)


def _rates(inputs: Inputs) -> MeasuredRates:
    one = np.ones(1)
    decoded = DecodeCosts(
        size=1e6 * inputs.megabytes * one,
        bytes_read=1e6 * inputs.megabytes * one,
        cpu_s=inputs.decode_s * one,
        wait_s=0.0 * one,
        video_s=10.0 * one,
    )
    labeling = LabelingRate(
        PRUNED, _R, inputs.unit_s, inputs.labeler_start_s, "assumed", decoded, _PROTOCOL.views
    )
    return MeasuredRates(
        (labeling,), inputs.unit_s, None, _MACHINE, started_s=5.0, known_from="inputs"
    )


def _terms(inputs: Inputs, videos: int, drivers: int) -> Terms:
    return Terms(
        work=Workload(videos, videos, 10.0 * videos, 1e6 * inputs.megabytes * videos, "inputs"),
        deadline_s=0.0,
        prices=None,
        grain_of=grain_rule(_PROTOCOL, None, videos, on_gpu=True),
        buffer_units=buffered_units(_MACHINE, _PROTOCOL),
        preemptions=inputs.preemptions,
        limits=inputs.limits,
        drivers=drivers,
        listing_s=videos / inputs.listed_per_s,
    )


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--gpus", type=int, nargs="+", default=GPUS)
    for field in dataclasses.fields(Inputs):
        flag = f"--{field.name.replace('_', '-')}"
        parser.add_argument(flag, type=float, default=field.default, help="default: %(default)s")
    given = vars(parser.parse_args())
    counts = given.pop("gpus")
    print(table(Inputs(**given), counts))


if __name__ == "__main__":
    main()
