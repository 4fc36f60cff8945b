"""Tables of a cost report: the work of the shared videos, and the cluster of whole runs."""

from __future__ import annotations

from collections.abc import Callable

from pipeline import formatting
from pipeline.formatting import clock, digits
from pipeline.prices import WorkCost
from pipeline.reports.cost.compare import RunComparison, RunFigures
from pipeline.reports.cost.layout import Cell, against, by_run
from pipeline.reports.html.report import Table

_PER = 1000


def device_name(found: RunComparison) -> str:
    """What device time is called: GPU-seconds where all labelers had GPUs."""
    return "GPU time" if all(each.run.on_gpu for each in found.runs) else "Device time"


def work_table(found: RunComparison) -> Table:
    """What labeling the shared videos took."""
    shared = found.reference.rows.shared
    name = device_name(found)
    rows: list[tuple[str, Cell]] = [
        ("FLOPs", against(found, lambda e: e.rows.shared.flops, _flops)),
        (
            "FLOPs per view",
            against(found, lambda e: e.rows.shared.flops / max(1, e.rows.shared.views), _flops),
        ),
        *_views(found),
        (name, against(found, lambda e: e.rows.shared.device_s, formatting.seconds)),
        ("Labeling, core time", _label_cores(found)),
        (
            "Decoding, core time",
            against(found, lambda e: e.rows.shared.decode_s, formatting.seconds),
        ),
        ("Bytes read", against(found, lambda e: e.rows.shared.bytes_read, _bytes)),
    ]
    if found.prices is not None:
        rows += _work_money(found, found.prices.currency)
    rows += _shadow_rows(found)
    about = (
        f"Sums over the rows of the {shared.videos:,} shared videos "
        f"({formatting.hours(shared.video_hours)} of video): the time that labeling them occupied, "
        f"without idle time. The shadow sample is listed separately."
    )
    return by_run(found, "Work of the shared videos", rows, about)


def _views(found: RunComparison) -> list[tuple[str, Cell]]:
    """Views per video, where a run uses early exit; else all videos have the same number."""
    if not any(each.run.is_adaptive for each in found.runs):
        return []
    return [
        (
            "Views per video",
            against(found, lambda e: e.rows.shared.views / e.rows.shared.videos, digits),
        ),
        (
            "FLOPs per video",
            against(found, lambda e: e.rows.shared.flops / e.rows.shared.videos, _flops),
        ),
    ]


def _label_cores(found: RunComparison) -> Cell:
    """Core time of labelers; nothing where all labelers have GPUs."""
    cell = against(found, lambda e: e.rows.used.labeling.core_s, formatting.seconds)
    return lambda each: cell(each) if each.rows.used.labeling.core_s else None


def _work_money(found: RunComparison, currency: str) -> list[tuple[str, Cell]]:
    def row(
        heading: str, number: Callable[[RunFigures, WorkCost[float]], float]
    ) -> tuple[str, Cell]:
        def of(each: RunFigures) -> float:
            return number(each, each.work_cost) if each.work_cost else 0.0

        return heading, against(found, of, lambda value: formatting.money(value, currency))

    def per_hour(each: RunFigures, its: WorkCost[float]) -> float:
        length = each.rows.shared.video_hours
        return its.total / length if length else 0.0

    return [
        row("Cost of labeling", lambda _, its: its.labeling),
        row("Cost of decoding", lambda _, its: its.decoding),
        row("Cost of reading", lambda _, its: its.reading),
        row("Cost of the work", lambda _, its: its.total),
        row("– per 1,000 videos", lambda e, its: its.total / e.rows.shared.videos * _PER),
        row("– per hour of video", per_hour),
    ]


def _shadow_rows(found: RunComparison) -> list[tuple[str, Cell]]:
    def with_shadow(said: Callable[[RunFigures], str]) -> Cell:
        return lambda each: said(each) if each.rows.shared.unpruned_flops else None

    rows: list[tuple[str, Cell]] = [
        ("Shadow sample, FLOPs", with_shadow(lambda e: _flops(e.rows.shared.unpruned_flops))),
        (
            f"Shadow sample, {device_name(found)}".replace("Device", "device"),
            with_shadow(lambda e: formatting.seconds(e.rows.shared.unpruned_device_s)),
        ),
    ]
    if found.prices is not None:
        currency = found.prices.currency
        rows.append(
            (
                "Shadow sample, cost",
                with_shadow(lambda e: formatting.money(e.shadow_cost, currency)),
            )
        )
    return rows


def cluster_table(found: RunComparison) -> Table:
    """What the whole runs held."""

    def per_video(each: RunFigures) -> float:
        return each.held.wall_s / each.rows.ok * _PER

    rows: list[tuple[str, Cell]] = [
        ("Wall time", _wall),
        ("Wall time per 1,000 videos", against(found, per_video, formatting.seconds)),
        ("GPU time held", _if_gpu(lambda e: formatting.seconds(e.held.gpu_s))),
        (
            "– busy with the work, GPUs",
            _if_gpu(lambda e: _part(e.cluster.used_gpu_s, e.held.gpu_s)),
        ),
        ("– idle and overhead, GPUs", _if_gpu(lambda e: _part(e.cluster.idle_gpu_s, e.held.gpu_s))),
        ("Core time held", lambda e: formatting.seconds(e.held.core_s)),
        ("– busy with the work, cores", lambda e: _part(e.cluster.used_core_s, e.held.core_s)),
        ("– idle and overhead, cores", lambda e: _part(e.cluster.idle_core_s, e.held.core_s)),
    ]
    if found.prices is not None:
        rows += _cluster_cost(found, found.prices.currency)
    about = (
        "The whole run, with failed videos and the shadow sample: all cores and GPUs of the "
        "cluster for the wall time of the run. The rest after the work is idle time and overhead "
        "(starting, waiting, Ray's own tasks)."
    )
    return by_run(found, "Cost of the cluster", rows, about)


def _cluster_cost(found: RunComparison, currency: str) -> list[tuple[str, Cell]]:
    def price(value: float) -> str:
        return formatting.money(value, currency)

    def idle(each: RunFigures) -> str:
        value, whole = each.cluster.idle_cost or 0.0, each.cluster.cost or 0.0
        return f"{price(value)} ({formatting.percent(value, whole)})"

    return [
        ("Cost of the cluster", against(found, lambda e: e.cluster.cost or 0.0, price)),
        ("– idle and overhead", idle),
        (
            "– per 1,000 labeled videos",
            against(found, lambda e: (e.cluster.cost or 0.0) / e.rows.ok * _PER, price),
        ),
        (
            "– per hour of labeled video",
            against(
                found,
                lambda e: (
                    (e.cluster.cost or 0.0) / (e.rows.ok_ns / 3.6e12) if e.rows.ok_ns else 0.0
                ),
                price,
            ),
        ),
    ]


def _wall(each: RunFigures) -> str:
    attempts = f"{each.held.attempts} attempts" if each.held.attempts > 1 else "one attempt"
    return f"{clock(each.held.wall_s)} in {attempts}"


def _if_gpu(said: Callable[[RunFigures], str]) -> Cell:
    return lambda each: said(each) if each.held.gpu_s else None


def _part(part: float, whole: float) -> str:
    return f"{formatting.seconds(part)} ({formatting.percent(part, whole)})"


def _flops(value: float) -> str:
    return formatting.quantity(value, "FLOPs")


def _bytes(value: float) -> str:
    return formatting.quantity(value, "B")
