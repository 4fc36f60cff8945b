"""How each figure of a cost report is computed: in words, and as SQL that recomputes it."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.prices import Prices
from pipeline.reports.cost import sql
from pipeline.reports.cost.compare import RunComparison


@dataclass(frozen=True)
class Explained:
    """A figure and where it comes from.

    Attributes:
        name: of the statement in report.json.
        figure: what it is.
        words: how it is made.
        statements: (run, SQL for DuckDB), where it comes from rows.
    """

    name: str
    figure: str
    words: str
    statements: tuple[tuple[str, str], ...] = ()


def explained(found: RunComparison) -> list[Explained]:
    """Every figure of the report."""
    made = [*_sums(found), *_money(found), _held(found), *_agreement(found)]
    if found.reference.accuracy is not None:
        made.append(_accuracy(found))
    if any(each.shadow is not None for each in found.runs):
        made.append(_shadow())
    return made


def _sums(found: RunComparison) -> list[Explained]:
    runs = [each.run for each in found.runs]
    return [
        Explained(
            "shared",
            "Shared videos",
            "Videos whose row in videos/ says ok in every run, matched by video_id.",
            (("all", f"SELECT count(*) AS videos FROM (\n{sql.shared_videos(runs)})"),),
        ),
        Explained(
            "work",
            "FLOPs, device time, decoding, bytes, hours of video",
            "Sums over the rows of the shared videos in videos/. FLOPs and bytes are integers. "
            "Each time is rounded to a whole nanosecond before it is added, so that the sum does "
            "not depend on the order. Device time is that of the forward passes, padding (and what "
            "was computed ahead and not needed) included, on a GPU or on the labeler's cores; "
            "decoding is the CPU time of fetching, decoding and resizing.",
            tuple((run.name, sql.work(run, runs)) for run in runs),
        ),
        Explained(
            "whole",
            "The same of the whole run",
            "The sums over all rows, failed videos included: the work that the cluster did.",
            tuple((run.name, sql.work(run, None)) for run in runs),
        ),
    ]


def _agreement(found: RunComparison) -> list[Explained]:
    runs, reference = [each.run for each in found.runs], found.reference.run
    others = [each.run for each in found.runs if each.agreement is not None]
    made = []
    if others:
        made.append(
            Explained(
                "agreement",
                "Same label, overlap of the top 5, divergence",
                "Units of shared videos that both runs labeled, matched by unit_id. The same "
                "label: Wilson's interval. Overlap and divergence: the mean, and a bootstrap over "
                "units. Divergence: Jensen and Shannon's, of units.scores made to add up to 1, in "
                "bits.",
                tuple((run.name, sql.agreement(run, reference, runs)) for run in others),
            )
        )
    segmented = [run for run in others if run.has_segments]
    if segmented:
        made.append(
            Explained(
                "clips",
                "Same label of clips",
                "With --clip-every, labels and top 5 are compared clip by clip; the interval draws "
                "whole units, whose clips belong together. The divergence is of the units' scores, "
                "since those of single clips are not kept.",
                tuple((run.name, sql.clip_agreement(run, reference, runs)) for run in segmented),
            )
        )
    return made


def _accuracy(found: RunComparison) -> Explained:
    runs = [each.run for each in found.runs]
    return Explained(
        "accuracy",
        "Accuracy",
        "Share of the shared videos with ground truth whose label is correct; Wilson's "
        "interval. The difference is paired, video by video, with Agresti and Min's interval.",
        tuple((run.name, sql.accuracy(run, runs)) for run in runs),
    )


def _shadow() -> Explained:
    return Explained(
        "shadow",
        "Shadow sample",
        "Units with an unpruned_label_id, of the whole run: their labels and scores against "
        "those of the unpruned model in the same row, by the same measures. Its FLOPs and its "
        "device time are in no other figure but the cost of the cluster.",
    )


def _money(found: RunComparison) -> list[Explained]:
    if found.prices is None:
        return []
    prices = found.prices
    return [
        Explained(
            "money",
            "Cost of the work",
            f"Labeling: the device time of each row of units/ x the GPUs or cores of a labeler of "
            f"the attempt that made the row (the last that began before its labeled_at) x their "
            f"price. Decoding: its core-seconds x the price of a core. Reading: bytes and requests "
            f"x theirs, one request per unit of a video in object storage. Prices: "
            f"{_prices(prices)}, from "
            f"{found.prices_from}. What a GPU costs without the cores that come with it is "
            f"gpu_hour - gpu_cores x core_hour.",
        )
    ]


def _prices(prices: Prices) -> str:
    return ", ".join(f"{name} {value}" for name, value in prices.as_json().items())


def _held(found: RunComparison) -> Explained:
    charged = (
        ""
        if found.prices is None
        else " The cost of the cluster is that time at its price, and what was read."
    )
    return Explained(
        "held",
        "Wall time, cost of the cluster, idle and overhead",
        "For each entry of `attempts` in run.json: from `began` to `ended`, or for an attempt that "
        "was killed to the last labeled_at in units/ before the next began (time after that is not "
        "known and not counted). That time x `cpus` and x `gpus` of the cluster is what was held. "
        "Idle and overhead is what remains of it after decoding, labeling and the shadow sample "
        f"of all rows.{charged} `cpus` and `gpus` are those that were there when an attempt began; "
        "machines that come or go later are not counted, and other jobs on the same cluster not "
        "told apart.",
    )
