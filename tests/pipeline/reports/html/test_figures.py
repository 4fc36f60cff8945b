"""Plots of pages: words stay the words that they are."""

import re
import warnings
from pathlib import Path

import pytest

import pipeline
from pipeline.reports.html.figures import inline_svg, log_axis, log_ticks, new_figure

PACKAGE = Path(pipeline.__file__).parent


def test_words_are_shown_as_they_are_given():
    names = ["$%$ (r = 1)", "a$b$c", "<b>&", "日本"]
    figure, axes = new_figure()
    for place, name in enumerate(names):
        axes.bar([place], [1], label=name)
    axes.set_yticks([0, 1], ["none $_$", "US$ or A$"])
    axes.set_xlabel("A$ (C$) per video")
    figure.legend()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        svg = inline_svg(figure, "$x$ < $y$")
    for shown in (
        "$%$ (r = 1)",
        "a$b$c",
        "&lt;b&gt;&amp;",
        "日本",
        "none $_$",
        "US$ or A$",
        "A$ (C$) per video",
    ):
        assert f">{shown}</text>" in svg
    assert 'aria-label="$x$ &lt; $y$"' in svg


@pytest.mark.parametrize("which", ["x", "y"])
def test_a_logarithmic_axis_has_plain_numbers(which):
    figure, axes = new_figure()
    axes.plot([150, 90_000], [150, 90_000], "o")
    log_axis(axes, which, 150, 90_000)
    svg = inline_svg(figure, "costs")
    assert ">10,000</text>" in svg
    assert "mathdefault" not in svg
    assert "$" not in svg


def test_no_plot_has_a_logarithmic_axis_of_its_own():
    made = re.compile(r"set_[xy]scale\(|set_\{which\}scale|semilog|loglog|log=True")
    files = [path for path in PACKAGE.rglob("*.py") if made.search(path.read_text())]
    assert [path.name for path in files] == ["figures.py"]


@pytest.mark.parametrize(
    ("low", "high"), [(1e-6, 1e6), (0.003, 0.04), (2, 30), (80, 100), (950, 1050), (1000, 60_000)]
)
def test_ticks_are_round_few_and_within_the_values(low, high):
    ticks = log_ticks(low, high)
    assert 3 <= len(ticks) <= 7
    assert ticks == sorted(set(ticks))
    assert all(low <= tick <= high for tick in ticks)
    assert all(float(f"{tick:.2g}") == tick for tick in ticks)
