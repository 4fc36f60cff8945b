"""The report on a trained head as lines for a terminal."""

from __future__ import annotations

import textwrap

from pipeline.formatting import byte_size, digits, percent, text_table
from pipeline.heads.left_out import LeftOut
from pipeline.heads.measures import ClassMeasure
from pipeline.heads.report import HeadReport
from pipeline.job_commands import arguments, flag_words, job_words, next_lines
from pipeline.statistics import Estimate
from sta.text import displayed, redacted

_WIDTH = 80
_INDENT = " " * len("More labels:  ")
_CLASSES = 20
_NAMES = 5
_CONFUSIONS = 5
_NAME_WIDTH = 40


def screen(report: HeadReport, left_out: LeftOut, *, run: str, dest: str, size_bytes: int) -> str:
    """What a person reads at the end of the training.

    Args:
        report: of the head.
        left_out: rows of the list that were not used.
        run: OUTPUT.
        dest: the head's file.
        size_bytes: of the file.
    """
    classes = report.accuracy.classes
    each = "one label each" if report.kind == "softmax" else "any number of labels each"
    lines = _said(
        "Head",
        f"{len(classes):,} classes, from {report.videos:,} labeled videos ({report.views:,} "
        f"views), {each}",
    )
    lines += [line for said in left_out.lines() for line in _said("Left out", said)]
    tried = report.methods_tried
    among = f", chosen from {tried} methods by cross-validation" if tried > 1 else ""
    lines += _said("Method", report.method + among)
    lines += _accuracy(report)
    lines += _curve(report)
    if report.few:
        more = ", ..." * (len(report.few) > _NAMES)
        lines += _said(
            "Few labels",
            f"{len(report.few):,} of {len(classes):,} classes have fewer than five labeled videos, "
            f"and what is said of each means little: "
            f"{', '.join(map(repr, report.few[:_NAMES]))}{more}",
        )
    for note in report.notes:
        lines += _said("Note", note)
    lines += _classes(report)
    lines += _confusions(report)
    license = report.license or "the model's checkpoint states none"
    labels = f"; labels: {report.labels_license}" if report.labels_license else ""
    lines += _said("License", license + labels)
    lines += _said("Written", f"{dest} ({byte_size(size_bytes)})")
    return "\n".join([*lines, *_next_steps(report, run, dest)])


def _accuracy(report: HeadReport) -> list[str]:
    accuracy = report.accuracy
    if not accuracy.overall.count:
        return _said("Accuracy", "not measured")
    overall = _with_interval(accuracy.overall)
    held_out = (
        f"{accuracy.overall.count:,} labeled videos, each scored by a head that was trained "
        f"without it"
    )
    if report.kind == "sigmoid":
        lines = _said("Accuracy", f"micro-F1 {overall} of {held_out}; a label needs a score of 0.5")
        mean = f"{percent(accuracy.per_class.value, 1)} mean average precision of the classes"
    else:
        lines = _said("Accuracy", f"{overall} of {held_out}")
        mean = (
            f"{_with_interval(accuracy.per_class)} is the mean of the classes; "
            f"{percent(accuracy.most_frequent or 0, 1)} if all had the most frequent class"
        )
    calibration = report.calibration
    scores = (
        f"off by {percent(calibration.after, 1)} on average (expected calibration error): "
        f"{percent(calibration.before, 1)} without the temperature {digits(report.temperature)}, "
        f"{percent(calibration.by_chance, 1)} by chance alone with so many videos"
    )
    return [*lines, *_said("", mean), *_said("Scores", scores)]


def _with_interval(estimate: Estimate) -> str:
    """Such as `88.3 % (95 % interval 84.2 to 91.5)`."""
    return estimate.percent().replace("(", "(95 % interval ")


def _curve(report: HeadReport) -> list[str]:
    curve = report.curve
    if curve is None:
        return []
    points = ", ".join(
        f"{percent(each.accuracy.value, 1)} with {each.videos:,}" for each in curve.points
    )
    forecast = (
        f"forecast for {curve.videos:,}: {_with_interval(curve.forecast)}, if the curve goes on as "
        f"a power law"
    )
    return [*_said("More labels", f"{points} labeled videos;"), *_said("", forecast)]


def _classes(report: HeadReport) -> list[str]:
    """The table of the classes; of many, the worst ones."""
    classes = sorted(report.accuracy.classes, key=_quality)
    shown = classes[:_CLASSES] if len(classes) > _CLASSES else sorted(classes, key=_name)
    of_all = "" if len(shown) == len(classes) else f"the worst {len(shown)} of {len(classes):,}; "
    if report.kind == "sigmoid":
        said = "found: videos with the label that got it; false: others that got it"
        head = ["class", "labels", "found", "false", "F1", "average precision"]
        rows = [
            [
                *(_short(each.name), f"{each.labels:,}", f"{each.found:,}", f"{each.false:,}"),
                *(_share(each.f1), _share(each.average_precision)),
            ]
            for each in shown
        ]
    else:
        said = "false: videos of other classes that got the label"
        head = ["class", "labels", "accuracy (95 % interval)", "false"]
        rows = [
            [
                *(_short(each.name), f"{each.labels:,}"),
                *(each.accuracy.percent() if each.held_out else "not measured", f"{each.false:,}"),
            ]
            for each in shown
        ]
    table = text_table([head, *rows])
    return [
        *_said("Classes", of_all + said),
        *(f"  {line}" for line in table),
    ]


def _quality(each: ClassMeasure) -> tuple[float, str]:
    if each.average_precision is not None:
        return each.average_precision, each.name
    return (each.found / each.held_out if each.held_out else -1.0), each.name


def _name(each: ClassMeasure) -> str:
    return each.name


def _share(value: float | None) -> str:
    return "-" if value is None else percent(value, 1)


def _confusions(report: HeadReport) -> list[str]:
    pairs = report.accuracy.confusions[:_CONFUSIONS]
    if not pairs:
        return []
    held_out = {each.name: each.held_out for each in report.accuracy.classes}
    rows = [
        f"  {each.videos:,} of {held_out[each.truth]:,} {_short(each.truth)!r} were labeled "
        f"{_short(each.predicted)!r}"
        for each in pairs
    ]
    return [*_said("Confused", "the most frequent pairs"), *rows]


def _next_steps(report: HeadReport, run: str, dest: str) -> list[str]:
    label, head = job_words("label_k400"), flag_words("--head", dest)
    checkpoint = flag_words("--checkpoint", redacted(report.checkpoint))
    return next_lines(
        {
            "Label new videos with the head:": [*label, "INPUT", "NEW_OUTPUT", *checkpoint, *head],
            "Label the videos of this run anew, without decoding them:": [
                *(*job_words("relabel"), *arguments(run, "NEW_OUTPUT", flags=head)),
            ],
        }
    )


def _short(name: str) -> str:
    return displayed(name, longest=_NAME_WIDTH)


def _said(name: str, text: str) -> list[str]:
    """Lines of one fact, with its name before it; without a name, of the fact above."""
    return textwrap.wrap(
        f"{f'{name}:' if name else '':<{len(_INDENT)}}{displayed(text)}",
        _WIDTH,
        subsequent_indent=_INDENT,
        break_long_words=False,
        break_on_hyphens=False,
    )
