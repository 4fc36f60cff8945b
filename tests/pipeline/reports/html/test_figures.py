"""Plots of pages: words stay the words that they are."""

import warnings

from pipeline.reports.html.figures import inline_svg, new_figure


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
