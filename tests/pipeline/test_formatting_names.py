"""Names on a screen: their end stays, and two that differ never look alike."""

import itertools

from pipeline.formatting import short_names
from sta.text import printable


def test_the_end_of_a_name_stays():
    assert short_names(["a.mp4"], 12) == ["a.mp4"]
    assert short_names(["2026-11-25/camera-3/0001.mp4"], 12) == [".../0001.mp4"]


def test_names_that_differ_never_look_alike_and_end_as_they_are():
    parts = ("a", "b", "north/east", "x" * 40, "y" * 40)
    names = ["/".join(each) for each in itertools.product(parts, repeat=3)]
    for width in (8, 12, 30, 60):
        shown = short_names(names, width)
        assert len(set(shown)) == len(names)
        for short, name in zip(shown, names, strict=True):
            assert name.endswith(short.removeprefix("..."))
            assert short == name or short.startswith("...")


def test_no_name_breaks_the_line():
    assert printable("a\nb\x1b[2J.mp4") == "a\\nb\\x1b[2J.mp4"
    assert printable("Kamera Süd/上午.mp4") == "Kamera Süd/上午.mp4"
    assert short_names(["a\nb"], 12) == ["a\\nb"]
