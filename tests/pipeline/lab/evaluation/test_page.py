"""The report of an evaluation: its page, its JSON and what the screen says."""

import json

import numpy as np
import pytest

from pipeline.errors import RunError, UsageError
from pipeline.lab.evaluation.page import write
from pipeline.lab.evaluation.plots import figure_against, pareto_front
from pipeline.lab.evaluation.results import evaluate
from pipeline.lab.evaluation.text import screen
from pipeline.lab.evaluation.variants import all_variants, at_shares, tried_once
from pipeline.run.run_directory import RunDirectory
from pipeline.storage.location import Location
from tests.browser import DESKTOP, PHONE, browser_page, needs_browser
from tests.pipeline.synthetic_sweep import LABELS, probabilities, write_sweep
from tests.run_records import run_record

VIDEOS = 120
# Shares of videos that are right; the same videos for equal shares.
SHARES = {"unpruned": 0.9, "order-FFF": 0.7, "tome@50%": 0.95, "rlt@50%": 0.6}


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    variants = all_variants("vit_demo", seeds=2, classes=len(LABELS))
    variants += at_shares(
        ["tome@50%", "rlt@50%", "random@50%"], "vit_demo", seeds=2, classes=len(LABELS)
    )
    said, prunings = {}, {}
    for variant in variants:
        for name, pruning in variant.sweep().items():
            is_random = getattr(pruning, "score", None) == "random"
            share = 0.6 if is_random else SHARES.get(variant.name, 0.8)
            right = np.arange(VIDEOS) < VIDEOS * share
            said[name], prunings[name] = probabilities(right), pruning
    ground_truths = ["cat"] * (VIDEOS - 2) + [None, "<yak>"]
    run = write_sweep(
        tmp_path_factory.mktemp("e") / "sweep", said, prunings, ground_truths, failed=3
    )
    return evaluate(run, variants)


@pytest.fixture(scope="module")
def page(found, tmp_path_factory):
    folder = tmp_path_factory.mktemp("out")
    write(found, Location.of(str(folder)))
    return folder / "evaluation.html"


def test_the_figures_are_those_of_the_sweep(found):
    assert found.scores.videos == VIDEOS - 2
    assert found.default.top1.value == 96 / 118
    assert found.of("unpruned").top1.value == 108 / 118
    assert found.random_difference.value == pytest.approx(-24 / 118)
    assert found.flops_share == pytest.approx(0.491, abs=0.001)
    assert found.of("random").ms.value == pytest.approx(found.of("random").flops / 1e8)


def test_the_json_holds_every_variant_with_its_prunings_and_intervals(found, page):
    content = json.loads((page.parent / "evaluation.json").read_text())
    by_name = {each["name"]: each for each in content["variants"]}
    assert len(by_name) == len(found.results)
    assert list(by_name["random"]["prunings"]) == ["random-0", "random-1"]
    assert by_name["random"]["prunings"]["random-1"]["seed"] == 1
    low, value, high = (by_name["random"]["difference"][key] for key in ("low", "value", "high"))
    assert low < value < high < 0
    assert by_name["sta"]["difference"] is by_name["sta@50%"]["difference"] is None
    assert by_name["tome@50%"]["base"] == "sta@50%"
    assert by_name["tome@50%"]["difference"]["value"] == pytest.approx((114 - 96) / 118)
    assert by_name["tome@50%"]["prunings"]["tome@50%"]["proportional"] is True
    assert (content["failed"], content["unlabeled"]) == (3, 1)
    assert content["unknown_labels"] == {"<yak>": 1}
    verdicts = {table["key"]: table["verdict"] for table in content["tables"]}
    assert verdicts["figure5"] == "as in the paper"
    assert verdicts["6a"] == "cannot be told"


def test_the_screen_says_the_result_in_words_and_every_variant_in_a_row(found):
    text = screen(found)
    assert "STA with r = 22 takes 49 % of the FLOPs at an accuracy of 81.4 %" in text
    assert "STA gains +20.3 points (+12." in text
    assert "videos: 3 that could not be read, 1 without a label, 1 whose label is none" in text
    assert "such as '<yak>'." in text
    assert "Figure 5): The order is the paper's." in text
    assert "As in the paper: order F-F-F." in text
    rows = [line for line in text.splitlines() if line.startswith("random tokens")]
    assert len(rows) == 6
    for views in ("mean of all views", "single views"):
        said = (
            f"At 49.1 % of the FLOPs, {views}, STA's accuracy minus the other's in points: STA is "
        )
        assert f"{said}better than random tokens (+20.3, +12." in text
    assert ", RLT (+20.3, +12." in text
    assert "; is worse than ToMe (-15.3, -2" in text


def test_a_setting_with_two_names_is_tried_once_and_listed_once():
    variants = all_variants("vit_demo", seeds=2, classes=len(LABELS))
    shares = at_shares(["@50%"], "vit_demo", seeds=2, classes=len(LABELS))
    marked = {each.name: each for each in tried_once([*variants, *shares])}
    assert marked["sta@50%"].prunings == marked["sta"].prunings
    assert marked["sta@50%"].same_as == "sta"
    assert marked["sta@50%"].sweep() == marked["sta"].sweep()
    assert marked["random@50%"].sweep() == marked["random"].sweep()
    assert marked["tome@50%"].same_as is marked["sta"].same_as is None


def test_one_setting_has_one_row(found):
    twice = tried_once([each.variant for each in found.results])
    merged = evaluate(found.run, twice)
    assert [each.variant.name for each in merged.shares[0]][:1] == ["sta@50%"]
    assert merged.of("sta@50%").top1 == merged.of("sta").top1
    rows = [line.split("  ")[0] for line in screen(merged).splitlines() if line.startswith("STA")]
    assert "STA" in rows
    assert not any(name.startswith("STA, 49.1 %") for name in rows)


def test_every_point_is_drawn_at_its_cost(found):
    axes = figure_against(found, lambda each: each.ms, "ms").axes[0]
    drawn = {float(x) for line in axes.lines for x in np.atleast_1d(line.get_xdata())}
    assert {each.ms.value for each in found.results} <= drawn
    front = next(line for line in axes.lines if line.get_label() == "Pareto front")
    assert set(map(float, front.get_xdata())) <= {each.ms.value for each in found.results}


def test_marks_and_columns_are_explained_on_the_page(page):
    text = page.read_text()
    assert "? cannot be told: the interval covers 0." in text
    assert "ms is device time" in text


def test_the_pareto_front_is_what_nothing_cheaper_or_as_cheap_beats():
    assert pareto_front([3.0, 1.0, 2.0, 2.0, 4.0], [0.9, 0.7, 0.6, 0.8, 0.9]) == [1, 3, 0]
    assert pareto_front([], []) == []


def test_a_sweep_without_results_is_refused(tmp_path):
    run = RunDirectory(Location.of(str(tmp_path)))
    run.save(run_record())
    with pytest.raises(UsageError, match="no sweep in"):
        evaluate(run, all_variants("vit_demo"))


def test_a_sweep_without_ground_truth_says_why(tmp_path):
    variants = [each for each in all_variants("vit_demo") if each.name in ("unpruned", "sta")]
    said = {each.name: probabilities([True, True]) for each in variants}
    prunings = {each.name: each.prunings[0] for each in variants}
    run = write_sweep(tmp_path / "sweep", said, prunings, [None, "yak"], failed=4)
    with pytest.raises(RunError, match="4 could not be read, 1 have no label, and 1 have a label"):
        evaluate(run, variants)


@pytest.mark.slow
@needs_browser
@pytest.mark.parametrize("size", [DESKTOP, PHONE])
def test_the_page_stands_alone_fits_and_shows_tables_and_plots(page, size):
    with browser_page(page, size) as shown:
        assert shown.console_errors() == []
        assert shown.requests() == []
        assert shown.width_overflow() == 0
        words = shown.driver.find_element("tag name", "body").text
        assert "Order of accumulation (Table 6b)" in words
        assert "'<yak>'" in words
        assert "STA and other methods at 49.1 % of the FLOPs" in words
        assert len(shown.driver.find_elements("css selector", "figure svg")) == 3
