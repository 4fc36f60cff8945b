"""Rates of a machine that was never measured, and what is asked of it, for tests of plans."""

import numpy as np

from pipeline.planner.local_pools import grain_rule
from pipeline.planner.predict import Terms
from pipeline.planner.rates import (
    PRUNED,
    UNPRUNED,
    DecodeCosts,
    LabelingRate,
    Machine,
    MeasuredRates,
    Workload,
)
from pipeline.planner.scenario import Limits
from pipeline.prices import Prices
from workers.sampling import protocol

PROTOCOL = protocol("videomae-k400")
PRICES = Prices(gpu_hour=2.0, core_hour=0.05)
VIDEOS = 20_000


def rates(*, gpus=8, decode=0.2, wait=0.05, pruned=0.1, unpruned=0.2, start_s=60.0):
    """A machine with GPUs that labels ten units a second, or one of two cores without."""
    ones = np.ones(20)
    decoded = DecodeCosts(
        size=ones * 1e6,
        bytes_read=ones * 1e6,
        cpu_s=ones * decode,
        wait_s=ones * wait,
        video_s=ones * 10.0,
    )
    return MeasuredRates(
        labelings=(
            LabelingRate(PRUNED, 64, pruned, start_s, "measured", decoded, 15.0),
            LabelingRate(UNPRUNED, 0, unpruned, start_s, "measured", decoded, 15.0),
        ),
        unpruned_s=unpruned,
        threads=None if gpus else 1,
        machine=Machine("made up", 96 if gpus else 2, 96.0 if gpus else 2.0, 100e9, gpus),
        started_s=2.0,
        known_from="made up",
    )


def terms(*, videos=VIDEOS, deadline_s=900.0, prices=PRICES, on_gpu=True, **changes):
    return Terms(
        work=Workload(videos, videos, videos * 10.0, videos * 1e6, "made up"),
        deadline_s=deadline_s,
        prices=prices,
        grain_of=grain_rule(PROTOCOL, None, videos, on_gpu=on_gpu),
        buffer_units=2000,
        **(
            {
                "preemptions": 0.0,
                "limits": Limits(),
                "listing_s": 5.0,
            }
            | changes
        ),
    )
