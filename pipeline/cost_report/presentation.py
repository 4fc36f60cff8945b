"""The comparison as tables of words, the same for the page, the Markdown and the terminal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pipeline.cost_report import words
from pipeline.cost_report.cluster import CORES_PER_STEP, UTILISATION
from pipeline.cost_report.compare import Comparison, Figures
from pipeline.cost_report.labels import SHOWN, Agreement
from pipeline.progress import clock

_PER = 1000

Cell = Callable[[Figures], str | None]
Number = Callable[[Figures], float]


@dataclass(frozen=True)
class Table:
    """A table of words.

    Attributes:
        title: what it is of.
        columns: headings.
        rows: as many cells each; the first names the row.
        about: what a reader must know before it.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    about: str = ""


def tables(found: Comparison) -> list[Table]:
    """All tables of the report, in their order."""
    made = [_runs(found), _work(found), _paid(found)]
    if found.target is not None:
        made.append(_clusters(found))
    made.append(_labels(found))
    return made + [_differing(each) for each in found.runs if _has_differing(each)]


def headline(found: Comparison) -> list[tuple[str, str, str]]:
    """(figure, run, what it is) of what most want to know first, for each run but the reference."""
    cards = []
    for each in found.runs:
        if each is found.reference:
            continue
        name = each.run.name
        for what, number in _compared(found):
            whole = number(found.reference)
            if whole:
                cards.append((words.percent(number(each), whole), name, f"{what} of the reference"))
        if each.agreement is not None:
            cards.append((f"{100 * each.agreement.top1.value:.1f} %", name, "the same label"))
        if each.difference is not None:
            value = f"{100 * each.difference.value:+.1f} points"
            cards.append((value, name, "accuracy against the reference"))
    return cards


def _compared(found: Comparison) -> list[tuple[str, Number]]:
    kinds: list[tuple[str, Number]] = [
        ("FLOPs", lambda each: each.rows.shared.flops),
        ("device time", lambda each: each.rows.shared.device_s),
    ]
    if found.prices is not None:
        kinds += [
            ("cost of the work", lambda each: each.bill.total if each.bill else 0.0),
            ("bill per labelled video", lambda each: (each.paid.money or 0.0) / each.rows.ok),
        ]
    else:
        kinds.append(("wall time per labelled video", lambda each: each.held.wall_s / each.rows.ok))
    return kinds


def device_name(found: Comparison) -> str:
    """What device time is called: GPU-seconds where all labellers had GPUs."""
    return "GPU time" if all(each.run.on_gpu for each in found.runs) else "Device time"


def _table(found: Comparison, title: str, rows: list[tuple[str, Cell]], about: str = "") -> Table:
    """One column per run; rows that no run has anything to say in are left out."""
    shown = []
    for heading, cell in rows:
        cells = [cell(each) for each in found.runs]
        if any(each is not None for each in cells):
            shown.append((heading, *(each or "–" for each in cells)))
    return Table(title, ("", *(each.run.name for each in found.runs)), tuple(shown), about)


def _against(found: Comparison, number: Number, said: Callable[[float], str]) -> Cell:
    """The number in words, and beside it what part of the reference's it is."""

    def cell(each: Figures) -> str:
        text, whole = said(number(each)), number(found.reference)
        if each is found.reference or not whole:
            return text
        return f"{text} ({words.percent(number(each), whole)})"

    return cell


def _runs(found: Comparison) -> Table:
    return _table(
        found,
        "The runs",
        [
            ("Model", lambda each: str(each.run.content["model"]["architecture"])),
            ("Pruning", lambda each: each.run.pruning),
            ("Protocol", _protocol),
            ("Device", _device),
            ("Videos labelled", lambda each: f"{each.rows.ok:,} of {each.rows.whole.videos:,}"),
            ("Lies in", lambda each: each.run.uri),
        ],
    )


def _protocol(each: Figures) -> str:
    protocol = each.run.identity["protocol"]
    every = f", every {protocol['every_s']:g} s" if each.run.is_timeline else ""
    return f"{protocol['name']}, {protocol['clips']}x{protocol['crops']}{every}"


def _device(each: Figures) -> str | None:
    device = each.run.content.get("device") or {}
    return device.get("gpu") or device.get("cpu")


def _work(found: Comparison) -> Table:
    shared = found.reference.rows.shared
    name = device_name(found)
    rows: list[tuple[str, Cell]] = [
        ("FLOPs", _against(found, lambda e: e.rows.shared.flops, _flops)),
        (
            "FLOPs per view",
            _against(found, lambda e: e.rows.shared.flops / max(1, e.rows.shared.views), _flops),
        ),
        (name, _against(found, lambda e: e.rows.shared.device_s, words.seconds)),
        ("Labelling, core time", _label_cores(found)),
        ("Decoding, core time", _against(found, lambda e: e.rows.shared.decode_s, words.seconds)),
        ("Bytes read", _against(found, lambda e: e.rows.shared.bytes_read, _bytes)),
    ]
    if found.prices is not None:
        currency = found.prices.currency

        def price(value: float) -> str:
            return words.money(value, currency)

        rows += [
            (
                "Cost of labelling",
                _against(found, lambda e: e.bill.device if e.bill else 0.0, price),
            ),
            (
                "Cost of decoding",
                _against(found, lambda e: e.bill.decode if e.bill else 0.0, price),
            ),
            (
                "Cost of reading",
                _against(found, lambda e: e.bill.reading if e.bill else 0.0, price),
            ),
            ("Cost of the work", _against(found, _bill, price)),
            (
                "per 1,000 videos",
                _against(found, lambda e: _bill(e) / e.rows.shared.videos * _PER, price),
            ),
            ("per hour of video", _per_hour(found, price)),
        ]
    rows += _shadow_rows(found)
    about = (
        f"Sums over the rows of the {shared.videos:,} shared videos "
        f"({words.hours(shared.video_hours)} of video): what labelling them occupied, whether or "
        f"not the machines had anything else to do. The shadow sample stands apart."
    )
    return _table(found, "What the work took", rows, about)


def _label_cores(found: Comparison) -> Cell:
    """Device time x the cores of a labeller; nothing where all labellers have GPUs."""
    cell = _against(found, lambda e: e.rows.shared.device_s * e.labellers.cpus, words.seconds)
    return lambda each: cell(each) if each.labellers.cpus else None


def _per_hour(found: Comparison, price: Callable[[float], str]) -> Cell:
    def number(each: Figures) -> float:
        length = each.rows.shared.video_hours
        return _bill(each) / length if length else 0.0

    return _against(found, number, price)


def _shadow_rows(found: Comparison) -> list[tuple[str, Cell]]:
    def with_shadow(said: Callable[[Figures], str]) -> Cell:
        return lambda each: said(each) if each.rows.shared.shadow_flops else None

    rows: list[tuple[str, Cell]] = [
        ("Shadow sample, FLOPs", with_shadow(lambda e: _flops(e.rows.shared.shadow_flops))),
        (
            f"Shadow sample, {device_name(found)}".replace("Device", "device"),
            with_shadow(lambda e: words.seconds(e.rows.shared.shadow_device_s)),
        ),
    ]
    if found.prices is not None:
        currency = found.prices.currency
        rows.append(
            (
                "Shadow sample, cost",
                with_shadow(lambda e: words.money(e.bill.shadow if e.bill else None, currency)),
            )
        )
    return rows


def _bill(each: Figures) -> float:
    return each.bill.total if each.bill else 0.0


def _paid(found: Comparison) -> Table:
    def per_video(each: Figures) -> float:
        return each.held.wall_s / each.rows.ok * _PER

    rows: list[tuple[str, Cell]] = [
        ("Wall time", _wall),
        ("Wall time per 1,000 videos", _against(found, per_video, words.seconds)),
        ("GPU time held", _if_gpu(lambda e: words.seconds(e.held.gpu_s))),
        ("of it busy", _if_gpu(lambda e: _part(e.paid.used_gpu_s, e.held.gpu_s))),
        ("idle and overhead, GPUs", _if_gpu(lambda e: _part(e.paid.idle_gpu_s, e.held.gpu_s))),
        ("Core time held", lambda e: words.seconds(e.held.core_s)),
        ("of it busy, cores", lambda e: _part(e.paid.used_core_s, e.held.core_s)),
        ("idle and overhead, cores", lambda e: _part(e.paid.idle_core_s, e.held.core_s)),
    ]
    if found.prices is not None:
        rows += _paid_money(found, found.prices.currency)
    about = (
        "The whole run, failed videos and shadow sample included: what the cluster had, for as "
        "long as the command ran. This is the bill; what the work did not take of it is idle and "
        "overhead (starting, waiting, the graph's own steps)."
    )
    return _table(found, "What was paid for", rows, about)


def _paid_money(found: Comparison, currency: str) -> list[tuple[str, Cell]]:
    def price(value: float) -> str:
        return words.money(value, currency)

    def idle(each: Figures) -> str:
        value, whole = each.paid.idle_money or 0.0, each.paid.money or 0.0
        return f"{price(value)} ({words.percent(value, whole)})"

    return [
        ("Bill", _against(found, lambda e: e.paid.money or 0.0, price)),
        ("idle and overhead", idle),
        (
            "Bill per 1,000 labelled videos",
            _against(found, lambda e: (e.paid.money or 0.0) / e.rows.ok * _PER, price),
        ),
        (
            "Bill per hour of video",
            _against(
                found,
                lambda e: (e.paid.money or 0.0) / (e.rows.ok_ns / 3.6e12) if e.rows.ok_ns else 0.0,
                price,
            ),
        ),
    ]


def _wall(each: Figures) -> str:
    starts = f"{each.held.starts} starts" if each.held.starts > 1 else "one start"
    return f"{clock(each.held.wall_s)} in {starts}"


def _if_gpu(said: Callable[[Figures], str]) -> Cell:
    return lambda each: said(each) if each.held.gpu_s else None


def _part(part: float, whole: float) -> str:
    return f"{words.seconds(part)} ({words.percent(part, whole)})"


def _clusters(found: Comparison) -> Table:
    assert found.target is not None
    currency = found.prices.currency if found.prices else ""
    on_gpu = any(each.labellers.gpus for each in found.runs)

    def cell(said: Callable[[Figures], str]) -> Cell:
        return lambda each: said(each) if each.cluster else None

    rows: list[tuple[str, Cell]] = []
    if on_gpu:
        rows.append(("GPUs", cell(lambda e: f"{e.cluster.gpus:,}" if e.cluster else "")))
    rows += [
        (
            "Cores for labelling",
            lambda e: f"{e.cluster.label_cores:,}" if e.cluster and e.labellers.cpus else None,
        ),
        ("Cores for decoding", cell(lambda e: f"{e.cluster.decode_cores:,}" if e.cluster else "")),
        ("Cores to have", cell(lambda e: f"{e.cluster.cores:,}" if e.cluster else "")),
        ("Done after", cell(lambda e: words.hours(e.cluster.hours) if e.cluster else "")),
        ("What ends last", cell(lambda e: e.cluster.bottleneck if e.cluster else "")),
    ]
    if found.prices is not None:
        rows.append(
            ("Price", cell(lambda e: words.money(e.cluster.money, currency) if e.cluster else ""))
        )
    about = (
        f"For {words.digits(found.target.archive_hours)} hours of video like the shared ones, "
        f"labelled within {words.hours(found.target.deadline_s / 3600)}, by the measured times "
        f"per hour of video. GPUs and cores are taken to be busy {100 * UTILISATION:.0f} % of the "
        f"time: what a short run reached is mostly its start. GPUs are whole ones; cores include "
        f"two for the graph's own steps, and come by {CORES_PER_STEP}."
    )
    return _table(found, "The cluster for an archive", rows, about)


def _labels(found: Comparison) -> Table:
    def of(said: Callable[[Agreement], str]) -> Cell:
        return lambda each: None if each.agreement is None else said(each.agreement)

    def of_shadow(said: Callable[[Agreement], str]) -> Cell:
        return lambda each: None if each.shadow is None else said(each.shadow)

    rows: list[tuple[str, Cell]] = [
        ("Same label as the reference", of(lambda a: words.share(a.top1))),
        ("Overlap of the top 5", of(lambda a: words.share(a.top5))),
        ("Divergence of the scores", of(lambda a: words.bits(a.divergence))),
        ("Compared", of(lambda a: _compared_count(a))),
        ("Accuracy", lambda e: None if e.accuracy is None else words.share(e.accuracy)),
        (
            "Accuracy less the reference's",
            lambda e: None if e.difference is None else words.points(e.difference),
        ),
        ("Videos with a true label", lambda e: f"{e.accuracy.count:,}" if e.accuracy else None),
        ("Shadow sample: same label", of_shadow(lambda a: words.share(a.top1))),
        ("Shadow sample: overlap of the top 5", of_shadow(lambda a: words.share(a.top5))),
        ("Shadow sample: divergence", of_shadow(lambda a: words.bits(a.divergence))),
        ("Shadow sample", of_shadow(lambda a: _compared_count(a))),
    ]
    about = (
        f"The reference is {found.reference.run.name} ({found.reference.run.pruning}). In "
        f"brackets: 95 % intervals. The divergence is Jensen and Shannon's: 0 for equal scores, 1 "
        f"bit at the most."
    )
    return _table(found, "Labels", rows, about)


def _compared_count(each: Agreement) -> str:
    if each.compared == "videos":
        return f"{each.units:,} videos"
    return f"clips of {each.units:,} stretches, which are drawn whole for the intervals"


def _has_differing(each: Figures) -> bool:
    return each.agreement is not None and bool(each.agreement.differing)


def _differing(each: Figures) -> Table:
    assert each.agreement is not None
    rows = tuple(
        (
            one.video_id if one.start_s is None else f"{one.video_id} from {one.start_s:g} s",
            f"{one.divergence:.3f}",
            f"{one.reference_label} ({one.reference_score:.0%})",
            f"{one.label} ({one.score:.0%})",
            one.truth or "–",
        )
        for one in each.agreement.differing
    )
    return Table(
        f"Where {each.run.name} differs most",
        ("Video", "Bits", "Reference", "This run", "Truly"),
        rows,
        f"Up to {SHOWN} units: those with another label first, then the others, each by the divergence "
        f"of the scores from the reference's.",
    )


def distribution(each: Figures) -> dict[str, float]:
    """Quantiles of the cost per shared video."""
    quantiles = {"median": 0.5, "p90": 0.9, "p99": 0.99, "most": 1.0}
    values = np.quantile(each.per_video, list(quantiles.values()))
    return dict(zip(quantiles, map(float, values), strict=True))


def _flops(value: float) -> str:
    return words.amount(value, "FLOPs")


def _bytes(value: float) -> str:
    return words.amount(value, "B")
