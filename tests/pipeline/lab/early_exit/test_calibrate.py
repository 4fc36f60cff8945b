"""From a sweep on disk to an early-exit file and its report."""

import html
import re
from dataclasses import replace

import numpy as np
import pytest

import sta
from pipeline.early_exit import EarlyExitFile
from pipeline.early_exit.calibrate import calibrate
from pipeline.early_exit.fitting import AgreementGuarantee
from pipeline.early_exit.margins import read_calibration_sample
from pipeline.errors import UsageError
from pipeline.reports.early_exit.methodology import summary
from pipeline.reports.early_exit.page import page
from pipeline.storage.location import Location
from tests.browser import DESKTOP, PHONE, browser_page, needs_browser
from tests.run_records import run_record
from tests.sweep_runs import said, write_sweep

GUARANTEE = AgreementGuarantee(0.98, 0.95)
RS = (16, 22)
VIDEOS = 500


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    variants = {f"r-{r}": (sta.Pruning(r=r), said(VIDEOS, noise=1.2 + r / 40)[0]) for r in RS}
    ground_truths = said(VIDEOS)[1]
    folder = tmp_path_factory.mktemp("sweep")
    return write_sweep(folder, variants, ground_truths=ground_truths, failed=3)


@pytest.fixture(scope="module")
def found(run):
    return calibrate({"exact": run}, "r-16", GUARANTEE)


def text_of(markup):
    """What a reader sees, in one line."""
    body = markup[markup.index("<main>") :]
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", body)).split())


def test_the_file_fits_runs_of_the_same_model_pruning_and_protocol_alone(run, found, tmp_path):
    identity = run.load().identity
    place = Location.of(str(tmp_path / "early-exit.json"))
    found.file.write(place)
    read = EarlyExitFile.read(place)
    assert read == found.file
    labeling = replace(identity, variants={}, pruning=identity.variants["r-16"])
    read.check_fits(labeling, "early-exit.json")
    with pytest.raises(UsageError, match="pruning.r: 16 in the early-exit file, 22 now"):
        read.check_fits(replace(labeling, pruning=identity.variants["r-22"]), "early-exit.json")


def test_the_guarantee_is_met_on_all_videos_of_the_sample(found):
    point = found.file.point
    assert found.file.videos == VIDEOS == len(found.used)
    assert point.agreement >= point.low >= 0.98
    assert point.views == pytest.approx(found.used.mean())
    assert found.flops_share == pytest.approx(point.views / 15)
    assert found.failed == 3


def test_a_sample_is_in_the_order_of_its_ids_and_halved_by_its_videos_names(run):
    sample = read_calibration_sample(run, "r-16")
    assert len(set(sample.video_ids)) == VIDEOS
    assert list(sample.video_ids) != sorted(sample.video_ids)
    number = int(sample.video_ids[7].split()[1])
    mine = said(VIDEOS, noise=1.2 + 16 / 40)[0][number]
    assert sample.view_margins.labels[7, -1] == mine.mean(axis=0, dtype=np.float64).argmax()
    assert sample.ground_truths[7] == said(VIDEOS)[1][number]
    assert 0.4 < sample.fitting_half.mean() < 0.6


def test_accuracy_counts_the_videos_with_a_ground_truth(run, found):
    sample = read_calibration_sample(run, "r-16")
    by_all = (sample.view_margins.labels[:, -1] == sample.ground_truths).mean()
    assert found.accuracy.all_views.value == pytest.approx(by_all)
    assert found.accuracy.difference.value == pytest.approx(
        found.accuracy.early_exit.value - found.accuracy.all_views.value
    )


def test_without_ground_truth_there_is_no_accuracy(tmp_path):
    bare = write_sweep(tmp_path, {"r-16": (sta.Pruning(r=16), said(200)[0])})
    found = calibrate({"exact": bare}, "r-16", GUARANTEE)
    assert found.accuracy is None
    assert "Accuracy" not in summary(found)
    assert "Top-1 accuracy" not in text_of(page(found, "label"))


def test_halves_too_small_for_the_guarantee_are_not_shown(tmp_path):
    run = write_sweep(tmp_path, {"r-16": (sta.Pruning(r=16), said(200, hard=0.0)[0])})
    found = calibrate({"exact": run}, "r-16", GUARANTEE)
    assert found.held_out is None
    assert summary(found).count("not shown: a half of 200 videos is fewer than the 149") == 2
    assert "a half of 200 videos is fewer than the 149" in text_of(page(found, "label"))


def test_too_few_videos_and_a_single_view_are_refused(tmp_path):
    few = write_sweep(tmp_path / "few", {"r-16": (sta.Pruning(r=16), said(100)[0])})
    with pytest.raises(UsageError, match="needs at least 149 videos, and 100 of the sample"):
        calibrate({"exact": few}, "r-16", GUARANTEE)
    once = write_sweep(
        tmp_path / "once", {"r-16": (sta.Pruning(r=16), said(200, views=1)[0])}, views=(1, 1)
    )
    with pytest.raises(UsageError, match="one view per video"):
        calibrate({"exact": once}, "r-16", GUARANTEE)


def test_where_every_video_failed_there_is_nothing_to_fit_on(tmp_path):
    nothing = write_sweep(tmp_path, {"r-16": (sta.Pruning(r=16), said(0)[0])}, failed=5)
    with pytest.raises(
        UsageError, match="at least 149 videos, and 0 of the sample were labeled .5 failed"
    ):
        calibrate({"exact": nothing}, "r-16", GUARANTEE)


def test_summary_and_page_show_the_guarantee_the_result_and_the_command(found):
    point, each = found.file.point, found.held_out.agreement
    command = (
        "python jobs/label_k400.py INPUT OUTPUT --checkpoint demo --early-exit early-exit.json"
    )
    shown = text_of(page(found, command))
    for text in (summary(found), shown):
        assert "at least 98 % of videos keep the label of all 15 views, at 95 % confidence" in text
        assert f"{each.percent()} of {each.count:,} others keep the label" in text
        assert f"in {found.resampled.kept} of 100" in text
        assert found.accuracy.early_exit.percent() in text
    assert command in shown
    assert "mathdefault" not in page(found, command)
    assert f"{100 * point.low:.4g} % at least" in shown
    assert f"{100 * found.flops_share:.3g} % of the FLOPs" in shown


def test_nothing_of_the_page_is_taken_as_html(found):
    script = "<script>alert(1)</script>"
    markup = page(found, script)
    assert "<script" not in markup
    assert "&lt;script&gt;" in markup


def fast_scores(*, changed):
    """Probabilities of fast decoding: the exact ones, but in some videos those of another class."""
    scores = said(VIDEOS, noise=1.6)[0].copy()
    scores[:changed] = np.roll(scores[:changed], 1, axis=-1)
    return scores


def both_modes(folder, *, changed, missing=()):
    """Sweeps of the same videos, decoded exactly and fast."""
    pruning, exact = sta.Pruning(r=16), said(VIDEOS, noise=1.6)[0]
    fast = fast_scores(changed=changed)
    return {
        "exact": write_sweep(folder / "exact", {"r-16": (pruning, exact)}),
        "fast": write_sweep(
            folder / "fast", {"r-16": (pruning, fast)}, decode="fast", missing=missing
        ),
    }


def test_fast_decoding_is_compared_with_the_label_of_all_views_decoded_exactly(tmp_path):
    runs = both_modes(tmp_path, changed=2, missing=(400,))
    found = calibrate(runs, "r-16", GUARANTEE, decode="fast")
    exact, fast = found.modes
    assert (exact.all_views.agreement, exact.decode_s) == (1.0, 0.4)
    # Two changed labels, and a video that fast decoding alone could not decode.
    assert fast.all_views.agreement == pytest.approx(1 - 3 / VIDEOS)
    assert fast.decode_s == pytest.approx(0.1)
    assert found.file.decode == "fast"
    assert found.file.videos == VIDEOS
    assert found.file.curve[0].agreement == fast.all_views.agreement
    assert found.file.point.low >= 0.98
    for text in (summary(found), text_of(page(found, "label"))):
        assert "keep the label of all 15 views decoded exactly" in text


def test_auto_takes_the_cheaper_mode_and_tests_each_at_half_the_error(tmp_path):
    found = calibrate(both_modes(tmp_path, changed=1), "r-16", GUARANTEE, decode="auto")
    assert found.file.decode == "fast"
    assert found.tested.confidence == pytest.approx(0.975)
    assert found.file.confidence == 0.95
    assert found.file.point.low >= 0.98
    exact, fast = found.modes
    assert exact.chosen.views <= fast.chosen.views < 15
    assert "Each mode is tested at 97.5 % confidence" in text_of(page(found, "label"))


def test_fast_decoding_that_breaks_the_promise_leaves_exact_or_is_refused(tmp_path):
    runs = both_modes(tmp_path, changed=20)
    found = calibrate(runs, "r-16", GUARANTEE, decode="auto")
    assert found.file.decode == "exact"
    assert found.modes[1].chosen is None
    assert "no threshold meets the guarantee" in summary(found)
    with pytest.raises(UsageError, match="with --decode fast, 96.00 % of the videos keep"):
        calibrate(runs, "r-16", GUARANTEE, decode="fast")


def test_sweeps_that_differ_in_more_than_the_decode_mode_are_refused(tmp_path):
    runs = both_modes(tmp_path, changed=0)
    content = runs["fast"].load().to_json()
    content["identity"]["precision"] = "bfloat16"
    runs["fast"].save(run_record(content))
    with pytest.raises(UsageError, match="precision: float32 decoded exactly, bfloat16 decoded f"):
        calibrate(runs, "r-16", GUARANTEE, decode="auto")


def test_a_file_may_promise_fast_decoding_of_all_views(tmp_path):
    runs = both_modes(tmp_path, changed=2)
    found = calibrate(runs, "r-16", GUARANTEE, decode="fast", all_views=True)
    assert found.file.point.views == 15
    assert not found.file.saves_views
    assert len(found.file.curve) == 1
    assert found.file.point.agreement == pytest.approx(1 - 2 / VIDEOS)


def test_a_protocol_of_one_view_may_be_decoded_fast(tmp_path):
    scores = said(200, views=1)[0]
    runs = {
        mode: write_sweep(
            tmp_path / mode, {"r-16": (sta.Pruning(r=16), scores)}, views=(1, 1), decode=mode
        )
        for mode in ("exact", "fast")
    }
    file = calibrate(runs, "r-16", GUARANTEE, decode="fast").file
    assert (file.decode, file.point.views, file.saves_views) == ("fast", 1.0, False)


@needs_browser
@pytest.mark.parametrize("size", [DESKTOP, PHONE])
def test_the_page_stands_alone_and_fits_the_screen(found, tmp_path, size):
    file = tmp_path / "early-exit.html"
    file.write_text(page(found, "python jobs/label_k400.py " + 20 * "long/path/"), encoding="utf-8")
    with browser_page(file, size) as opened:
        assert opened.width_overflow() == 0
        assert opened.console_errors() == []
        assert opened.requests() == []
        assert opened.run("return document.querySelectorAll('svg').length") == 3
