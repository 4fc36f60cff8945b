"""Prometheus metrics of a run, through `ray.util.metrics`.

Label actors increment counters and histograms; the driver sets gauges. Ray exports each metric as
ray_NAME, counters as ray_NAME_total. A run that ends before the first scrape leaves no metrics; its
totals are in run.json. An error in a metric never stops labeling: the metric is left out.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import time
from collections import Counter as Counted
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

import pyarrow as pa
import pyarrow.compute as pc
import ray
from ray.util.metrics import Counter, Gauge, Histogram

from pipeline.execution.stage_stats import Stages
from pipeline.run.counts import Counts
from pipeline.statistics import share

PREFIX = "sta_"

# Seconds: from a short clip on a fast machine to a recording of an hour.
_BOUNDARIES = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 60.0, 300.0]

COUNTERS = {
    "units": "Units that have a row: videos, or segments of recordings. status: ok or failed",
    "failures": "Units that failed, by error_type",
    "views": "Views labeled",
    "flops": "Multiply-accumulates of labeling, without the shadow sample",
    "unpruned_flops": "Multiply-accumulates of labeling the shadow sample without pruning",
    "video_seconds": "Length of the labeled units",
    "bytes_read": "Bytes read from storage",
    "unpruned_units": "Units of the shadow sample, also labeled without pruning",
    "unpruned_agreeing": "Units of the shadow sample with the same label both times",
}
HISTOGRAMS = {
    "decode_seconds": "CPU time of fetching and decoding a unit",
    "inference_seconds": "Device time of labeling a unit",
}
GAUGES = {
    "units_expected": "Units of the run",
    "units_done": "Units that have a row, earlier attempts included",
    "units_failed": "Units that failed, earlier attempts included",
    "video_hours_done": "Length of the labeled units, hours",
    "eta_seconds": "Seconds until the last unit is labeled, at the present rate",
    "decoders_busy": "Share of the decoders' time that they spend decoding",
    "labelers_busy": "Share of the labelers' time that they spend labeling",
    "agreement": "Share of the shadow sample with the same label both times, over the whole run",
    "agreement_high": "Upper end of the 95 % interval of agreement",
    "min_agreement": "Value of --min-agreement",
    "drift_told_apart": "Share of held-out videos of which embeddings tell the run; 0.5: no shift",
    "drift_told_apart_low": "Lower end of the 95 % interval of drift_told_apart",
    "drift_labels_moved": "Total variation distance of the labels from those of --compare-to",
    "drift_labels_moved_low": "Lower end of the 95 % interval of drift_labels_moved",
    "drift_classes_changed": "Classes whose share differs from that in --compare-to for certain",
    "labeler_device": "1 for each device that labelers compute on, by name",
}
# Ray exports every ten seconds, and infra/monitoring/prometheus.yml scrapes every ten.
_SCRAPED_S = 25.0

_drift_set_at: float | None = None

_TAGS = {
    "units": ("run", "status"),
    "failures": ("run", "error_type"),
    "labeler_device": ("run", "device"),
}


@functools.cache
def _counters() -> dict[str, Any]:
    """Created once in each process: Ray accepts a name once."""
    return {
        name: Counter(PREFIX + name, about, _TAGS.get(name, ("run",)))
        for name, about in COUNTERS.items()
    }


@functools.cache
def _histograms() -> dict[str, Any]:
    return {
        name: Histogram(PREFIX + name, about, boundaries=_BOUNDARIES, tag_keys=("run",))
        for name, about in HISTOGRAMS.items()
    }


@functools.cache
def _gauges() -> dict[str, Any]:
    return {
        name: Gauge(PREFIX + name, about, _TAGS.get(name, ("run",)))
        for name, about in GAUGES.items()
    }


def count_units(run: str, units: pa.Table) -> None:
    """Adds labeled rows (UNITS_SCHEMA) to the counters and histograms of this process. Raises
    nothing, so that an error in a metric costs no labels.
    """
    with _out_of_the_way():
        _count(_tags(run), units)


def _count(tags: dict[str, str], units: pa.Table) -> None:
    for name, value in _sums(units).items():
        if value > 0:  # counters reject other values, which damaged timestamps can give
            _counters()[name].inc(value, tags)
    for status, count in Counted(units["status"].to_pylist()).items():
        _counters()["units"].inc(count, tags | {"status": status})
    for reason, count in Counted(units["error_type"].drop_null().to_pylist()).items():
        _counters()["failures"].inc(count, tags | {"error_type": reason})
    for name, column in {"decode_seconds": "decode_ms", "inference_seconds": "device_ms"}.items():
        for milliseconds in units[column].drop_null().to_pylist():
            _histograms()[name].observe(milliseconds / 1000, tags)


def _tags(run: str) -> dict[str, str]:
    """Tags of a run. Ray accepts ASCII only: a name with other letters is percent-encoded."""
    return {"run": run if run.isascii() else quote(run)}


@contextlib.contextmanager
def _out_of_the_way() -> Iterator[None]:
    try:
        yield
    except Exception as error:  # whatever it is, labeling goes on
        _complain(f"{type(error).__name__}: {error}")


@functools.cache
def _complain(problem: str) -> None:
    """Logs each problem once in each process."""
    logging.getLogger(__name__).warning("metrics are left out: %s", problem)


def _sums(units: pa.Table) -> dict[str, float]:
    """The increment of each counter that has the run as its only tag."""
    counts = Counts.of(units)
    columns = {"flops": "flops", "unpruned_flops": "unpruned_flops", "bytes_read": "bytes_read"}
    return {
        "views": pc.sum(pc.list_value_length(units["views"]), min_count=0).as_py(),
        "video_seconds": counts.seconds,
        "unpruned_units": counts.shadow,
        "unpruned_agreeing": counts.agreeing,
        **{name: pc.sum(units[column], min_count=0).as_py() for name, column in columns.items()},
    }


def set_drift(run: str, values: Mapping[str, float | None]) -> None:
    """Sets the gauges of drift at the end of a run; those that are None are left out. Raises
    nothing, and sets nothing where this process began no Ray.
    """
    global _drift_set_at
    known = {name: value for name, value in values.items() if value is not None}
    if not known or not ray.is_initialized():
        return
    with _out_of_the_way():
        for name, value in known.items():
            _gauges()[name].set(value, _tags(run))
        _drift_set_at = time.monotonic()


def wait_for_scrape() -> None:
    """Waits until gauges of drift, if any were set, have been exported and scraped: a job that
    ends at once takes them along.
    """
    if _drift_set_at is not None:
        time.sleep(max(0.0, _drift_set_at + _SCRAPED_S - time.monotonic()))


class RunGauges:
    """The gauges of a run; the driver sets them.

    Args:
        run: the run's name.
        total: units of the run.
        min_agreement: value of --min-agreement; None if it is not set.
    """

    def __init__(self, run: str, *, total: int, min_agreement: float | None) -> None:
        self._tags = _tags(run)
        self._fixed = {"units_expected": total, "min_agreement": min_agreement}

    def set(self, done: Counts, stages: Stages, *, remaining_s: float | None) -> None:
        """Sets the gauges; those whose value is not known yet are left out. Raises nothing."""
        known = {
            **self._fixed,
            "units_done": done.units,
            "units_failed": done.failed,
            "video_hours_done": done.seconds / 3600,
            "eta_seconds": remaining_s,
            "decoders_busy": stages.decoders_busy if stages.are_measured else None,
            "labelers_busy": stages.labelers_busy if stages.are_measured else None,
            "agreement": done.agreement,
            "agreement_high": share(done.agreeing, done.shadow).high if done.shadow else None,
        }
        with _out_of_the_way():
            for name, value in known.items():
                if value is not None:
                    _gauges()[name].set(value, self._tags)
            for device in stages.label.devices:
                tags = {"device": device.encode("ascii", "replace").decode()}
                _gauges()["labeler_device"].set(1, self._tags | tags)
