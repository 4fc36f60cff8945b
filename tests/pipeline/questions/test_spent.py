"""What a question took is what its runs record, and what everything takes is extrapolated."""

import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pytest

from pipeline.prices import Prices
from pipeline.questions.answer import text
from pipeline.questions.columns import Groups
from pipeline.questions.inquiry import answer_question
from pipeline.questions.page import page
from pipeline.questions.series import Series
from pipeline.questions.spent import question_cost
from pipeline.reports.cost.compare import compare
from pipeline.reports.run.contents import contents
from pipeline.run.run_directory import RunDirectory
from pipeline.storage.location import Location
from tests.pipeline.questions.made_archive import LABELS, made_archive
from tests.pipeline.questions.sets import selected
from tests.pipeline.questions.test_inquiry import asked
from tests.pipeline.run.test_tables import failed, ok
from tests.report_runs import at, attempt, made_run

PRICES = Prices(gpu_hour=3.6, core_hour=0.36, read_gb=0.01, get_1000=0.4, currency="EUR")


def priced(one, prices=PRICES):
    return dataclasses.replace(
        one,
        reference=dataclasses.replace(one.reference, prices=prices),
        proxy=one.proxy and dataclasses.replace(one.proxy, prices=prices),
    )


def recorded(tmp_path, *names):
    """The runs' own reports."""
    return [contents(RunDirectory(Location.of(str(tmp_path / name)))) for name in names]


def series_of(folder, *rows, attempts, prices=None):
    more = {} if prices is None else {"prices": prices.as_json()}
    run = made_run(folder, list(rows), attempts=attempts, stages=None, **more)
    run.success.write_bytes(b"")
    return Series(SimpleNamespace(prices=prices), SimpleNamespace(run=run))


def groups(*units):
    """Videos belong to the group that the first letter of their name counts."""
    names = tuple(map(str, range(len(units))))
    first = np.array if len(units) > 1 else np.zeros_like
    return Groups(names, units, lambda ids: first([int(each[0], 36) for each in ids]))


def row(name, second, **more):
    made = failed(name) if more.pop("is_failed", False) else ok(name)
    return made | {"labeled_at": at(second)} | more


def test_the_cost_of_an_answer_is_that_of_both_runs_in_their_own_reports(tmp_path, monkeypatch):
    made_archive(monkeypatch).takes_time = True
    (source,) = answer_question(priced(asked(tmp_path)), confidence=0.95).sources
    cost = source.cost
    reports = recorded(tmp_path, "reference", "proxy")
    for spent, report in zip((cost.reference, cost.proxy), reports, strict=True):
        assert spent.work == report["cost"]["work"]
        assert spent.cluster == report["cost"]["cluster"]
        assert spent.wall_s == report["totals"]["wall_s"]
        assert spent.units == report["totals"]["units"]
        assert spent.attempts == report["totals"]["attempts"]
    assert cost.runs.work == sum(report["cost"]["work"] for report in reports)
    assert cost.currency == "EUR"
    assert source.looks[-1].work.money == pytest.approx(cost.runs.work)
    assert source.looks[-1].work.core_s == pytest.approx(cost.runs.core_s)
    assert source.looks[0].work.money < cost.runs.work


def test_the_cost_is_that_of_the_cost_report(tmp_path):
    runs = {}
    for name, ms in (("reference", 30.0), ("proxy", 10.0)):
        rows = [row(str(number), 20 + number, device_ms=ms) for number in range(9)]
        attempts = [attempt(0, 40, gpus=float(name == "reference"))]
        runs[name] = series_of(tmp_path / name, *rows, attempts=attempts, prices=PRICES)
    cost = question_cost(*runs.values(), groups(9), rests_on=18)
    one, other = compare([str(tmp_path / name) for name in runs]).runs
    assert (cost.reference.work, cost.proxy.work) == (one.work_cost.total, other.work_cost.total)
    assert cost.runs.cluster == one.cluster.cost + other.cluster.cost
    assert cost.runs.gpu_s == one.cluster.used_gpu_s
    assert cost.runs.core_s == one.cluster.used_core_s + other.cluster.used_core_s
    assert cost.runs.wall_s == one.held.wall_s + other.held.wall_s


def test_a_question_asked_again_with_prices_has_them_recorded_and_the_same_sums(
    tmp_path, monkeypatch
):
    made_archive(monkeypatch).takes_time = True
    first = answer_question(asked(tmp_path), confidence=0.95)
    assert first.sources[0].cost.currency is None
    assert "Money" not in text(first)
    assert "EUR" not in page(first)
    again = answer_question(priced(asked(tmp_path)), confidence=0.95)
    cost = again.sources[0].cost
    reports = recorded(tmp_path, "reference", "proxy")
    assert cost.runs.work == sum(report["cost"]["work"] for report in reports)
    assert cost.runs.core_s == first.sources[0].cost.runs.core_s
    assert all(len(line) <= 80 for line in text(again).splitlines()[:-1])
    assert "EUR for the work" in " ".join(text(again).split())
    assert "EUR" in page(again)
    assert json.loads(json.dumps(again.to_json()))["sources"][0]["cost"]["runs"]["work"]


def test_everything_is_extrapolated_from_the_units_of_the_reference_and_one_start(tmp_path):
    rows = [row(str(number), 20 + number, device_ms=30.0) for number in range(11)]
    reference = series_of(tmp_path, *rows, attempts=[attempt(0, 40)], prices=PRICES)
    cost = question_cost(reference, None, groups(110), rests_on=2)
    assert cost.all.units == 110
    assert cost.all.work == pytest.approx(10 * cost.reference.work)
    assert cost.all.core_s == pytest.approx(10 * cost.reference.core_s)
    # 30 seconds before the first row and after the last; the ten others came one a second.
    assert cost.reference.start_s == cost.all.start_s == 30
    assert cost.all.wall_s == 30 + 110
    assert cost.is_extrapolated


def test_starts_of_rounds_are_a_cost_of_the_question_and_not_of_everything(tmp_path):
    times = [20, 21, 22, 120, 121, 122, 123]
    rows = [row(str(number), second) for number, second in enumerate(times)]
    attempts = [attempt(0, 32), attempt(100, 133)]
    cost = question_cost(
        series_of(tmp_path, *rows, attempts=attempts), None, groups(70), rests_on=2
    )
    assert cost.reference.wall_s == 65
    assert cost.reference.start_s == 60
    assert cost.all.wall_s == 30 + 70


def test_one_flush_of_rows_has_no_pace_and_the_duration_of_everything_is_not_told(tmp_path):
    rows = [row(str(number), 20) for number in range(4)]
    cost = question_cost(
        series_of(tmp_path, *rows, attempts=[attempt(0, 32)]), None, groups(70), rests_on=2
    )
    assert cost.all.wall_s is None
    assert cost.all.core_s == pytest.approx(70 / 4 * cost.reference.core_s)


def test_a_group_that_was_labeled_more_than_its_share_counts_by_its_size(tmp_path):
    rows = [row(f"0{n}", 20 + n, device_ms=10.0) for n in range(8)]
    rows += [row(f"1{n}", 30 + n, device_ms=1000.0) for n in range(2)]
    reference = series_of(tmp_path, *rows, attempts=[attempt(0, 40)])
    cost = question_cost(reference, None, groups(80, 4, 16), rests_on=2)
    each = [0.1 + 0.02, 0.1 + 2.0]
    mean = (8 * each[0] + 2 * each[1]) / 10
    assert cost.all.core_s == pytest.approx(80 * each[0] + 4 * each[1] + 16 * mean)


def test_units_that_failed_are_paid_for(tmp_path):
    rows = [row("a", 20), row("b", 21, is_failed=True)]
    cost = question_cost(
        series_of(tmp_path, *rows, attempts=[attempt(0, 32)]), None, groups(4), rests_on=2
    )
    assert cost.reference.units == 2
    assert cost.reference.core_s == pytest.approx(2 * 0.003 + 0.105)


def test_a_reference_that_labeled_everything_is_what_that_took(tmp_path, monkeypatch):
    made_archive(monkeypatch, units=100).takes_time = True
    answer = answer_question(priced(asked(tmp_path)), confidence=0.95)
    cost = answer.sources[0].cost
    assert cost.all == cost.reference == cost.runs
    assert "extrapolated" not in text(answer)


def test_with_labels_of_people_the_proxy_alone_has_a_cost(tmp_path, monkeypatch):
    archive = made_archive(monkeypatch, units=1000)
    archive.takes_time = True
    truth = tmp_path / "truth.csv"
    rows = zip(archive.names, archive.labels, strict=True)
    truth.write_text("video_id,label\n" + "".join(f"{n},{LABELS[k]}\n" for n, k in rows))
    given = priced(asked(tmp_path, truth=truth, within=0.05))
    answer = answer_question(given, confidence=0.95)
    cost = answer.sources[0].cost
    assert cost.reference is None
    assert cost.all is None
    assert cost.runs == cost.proxy
    assert "by the reference take" not in " ".join(text(answer).split())
    assert "EUR" in page(answer)


def test_units_that_the_runs_hold_beyond_the_answer_are_told(tmp_path, monkeypatch):
    made_archive(monkeypatch).takes_time = True
    first = answer_question(asked(tmp_path), confidence=0.95)
    assert first.sources[0].cost.further == 0
    assert "beyond this answer" not in text(first)
    wider = answer_question(asked(tmp_path, within=0.2), confidence=0.95)
    cost, look = wider.sources[0].cost, wider.sources[0].looks[-1]
    assert cost.runs == first.sources[0].cost.runs
    assert cost.further == cost.runs.units - look.reference - look.proxy > 0
    assert f"with {cost.further:,} videos that the runs hold beyond" in " ".join(
        text(wider).split()
    )


def test_both_sides_of_a_difference_have_their_cost(tmp_path, monkeypatch):
    made_archive(monkeypatch).takes_time = True
    sides = [priced(asked(tmp_path / name, within=0.06, alpha=0.025)) for name in ("one", "two")]
    answer = answer_question(sides[0], confidence=0.95, against=sides[1])
    assert all(source.cost.runs.work > 0 for source in answer.sources)
    assert text(answer).count("Money:") == 2
    assert page(answer).count("EUR for the cluster") == 4  # of each side, and of all its videos


def test_the_set_of_videos_with_a_label_has_a_cost(tmp_path, monkeypatch):
    made_archive(monkeypatch, units=1000).takes_time = True
    found = selected(priced(asked(tmp_path, "videos with common")), recall=0.9, most=300)
    reports = recorded(tmp_path, "reference", "proxy")
    assert found.cost.runs.work == sum(report["cost"]["work"] for report in reports)
    assert "Money:" in found.text
    assert all(len(line) <= 80 for line in found.text.splitlines()[:-1])
