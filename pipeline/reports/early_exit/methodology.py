"""A calibration in words, for the terminal and the page."""

from __future__ import annotations

import numpy as np

from pipeline.early_exit.calibrate import EXACT, Calibration, DecodeModeFit
from pipeline.formatting import digits
from pipeline.reports import settings


def summary(found: Calibration) -> str:
    """A few lines for the terminal."""
    rows = [
        ("Model:", model(found)),
        ("Guarantee:", guarantee(found)),
        ("Decoding:", decoding(found)),
        ("Agreement:", f"{fitted(found)}"),
        ("Views:", f"{views(found)}"),
        ("Held out:", held_out(found)),
        ("Resamplings:", resampled(found)),
    ]
    if found.accuracy is not None:
        rows.append(("Accuracy:", accuracy(found)))
    return "\n".join(f"{name:<13} {text}" for name, text in rows)


def model(found: Calibration) -> str:
    """Such as `vit_demo, STA, r = 22 (grouping: released); videomae-k400, 5x3 (clips x crops)`."""
    pruning = found.file.pruning
    run = {"pruning": pruning, "r": pruning["r"], "protocol": found.file.protocol}
    return f"{found.architecture}, {settings.pruning(run)}; {settings.protocol(run)}"


def guarantee(found: Calibration) -> str:
    """The agreement guarantee."""
    return (
        f"at least {percent(found.guarantee.agreement)} of videos keep the label of all "
        f"{found.views} views{_decoded_exactly(found)}, at {percent(found.guarantee.confidence)} "
        f"confidence"
    )


def _decoded_exactly(found: Calibration) -> str:
    return "" if found.file.decode == EXACT else " decoded exactly"


def decoding(found: Calibration) -> str:
    """The decode mode of the file, and every mode that was measured."""
    measured = "; ".join(f"{each.mode}: {_mode(found, each)}" for each in found.modes)
    return found.file.decode if len(found.modes) == 1 else f"{found.file.decode} ({measured})"


def comparison(found: Calibration) -> str:
    """What the decode modes are compared by."""
    tested = ""
    if found.tested.confidence != found.guarantee.confidence:
        tested = (
            f" Each mode is tested at {percent(found.tested.confidence)} confidence, so that the "
            f"guarantee holds at {percent(found.guarantee.confidence)} whichever is chosen."
        )
    return (
        f"Labels are compared with those of all views decoded exactly. The file names "
        f"{found.file.decode}.{tested}"
    )


def _mode(found: Calibration, each: DecodeModeFit) -> str:
    cost = f"{digits(each.decode_s)} core-s to decode all clips"
    if each.mode != EXACT:
        cost += f", {percent(each.all_views.agreement)} keep the label by all views"
    if each.chosen is None:
        return f"{cost}, no threshold meets the guarantee"
    return f"{cost}, {digits(each.chosen.views)} views"


def fitted(found: Calibration) -> str:
    """Agreement on the videos of the calibration."""
    point = found.file.point
    failed = f" ({found.failed:,} more failed)" if found.failed else ""
    return (
        f"{percent(point.agreement)} of {found.file.videos:,} videos{failed} keep the label "
        f"({percent(point.low)} at least)"
    )


def views(found: Calibration) -> str:
    """Evaluated views per video."""
    point = found.file.point
    return (
        f"{digits(point.views)} of {found.views} per video on average, "
        f"{digits(100 * found.flops_share)} % of the FLOPs; half of the videos need "
        f"{int(np.median(found.used))} or fewer, {digits(100 * _share_of_all(found))} % need all"
    )


def _share_of_all(found: Calibration) -> float:
    return float((found.used == found.views).mean())


def held_out(found: Calibration) -> str:
    """Agreement on the held-out half."""
    if found.held_out is None:
        return f"not shown: {_too_few(found)}"
    each = found.held_out
    return (
        f"fitted on {each.fitted_on:,} videos, {each.agreement.percent()} of "
        f"{each.agreement.count:,} others keep the label, with {digits(each.views.value)} views"
    )


def resampled(found: Calibration) -> str:
    """In how many random halves the guarantee held."""
    if found.resampled is None:
        return f"not shown: {_too_few(found)}"
    each = found.resampled
    return (
        f"the guarantee held on the other half in {each.kept} of {each.count}, and was refuted in "
        f"{each.refuted}"
    )


def _too_few(found: Calibration) -> str:
    if found.tested.is_provable(found.file.videos // 2):
        return f"on a half of {found.file.videos:,} videos, no threshold meets the guarantee"
    return (
        f"a half of {found.file.videos:,} videos is fewer than the "
        f"{found.tested.videos_needed:,} that the guarantee needs"
    )


def accuracy(found: Calibration) -> str:
    """Labels against the ground truth."""
    assert found.accuracy is not None
    each = found.accuracy
    return (
        f"{each.early_exit.percent()} correct, by all views {each.all_views.percent()}; difference "
        f"{each.difference.points(places=2)}"
    )


def percent(share: float) -> str:
    """Such as `99.5 %`."""
    return f"{digits(100 * share, 4)} %"
