"""The page: escaped, right in its words, loud when pruning hurts, whole in a real browser."""

import html
import re

import pytest
from markupsafe import Markup

from pipeline import formatting
from pipeline.reports import tokens
from pipeline.reports.run import write_run_report
from pipeline.reports.run.contents import contents
from pipeline.reports.run.page import page
from tests.browser import DESKTOP, PHONE, browser_page, needs_browser
from tests.pipeline.run.test_tables import failed, ok
from tests.report_runs import at, attempt, made_run, segment, shadowed

SCRIPT = "<script>alert(1)</script>"


def text_of(markup):
    """What a reader sees, in one line."""
    body = markup[markup.index("<main>") :]
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", body)).split())


def shown(run):
    return text_of(page(contents(run)))


def test_nothing_that_users_wrote_is_taken_as_html(tmp_path):
    bad = ok(SCRIPT, ground_truth=SCRIPT, label=SCRIPT, lost=3) | {
        "uri": SCRIPT,
        "labeled_at": at(1),
    }
    worse = failed(f"b{SCRIPT}") | {"error": SCRIPT, "uri": SCRIPT, "error_type": SCRIPT}
    model = {
        "architecture": SCRIPT,
        "checkpoint": SCRIPT,
        "kept_grids": [[1, 1, 2]],
        "labels": ["a"],
    }
    run = made_run(
        tmp_path, [bad, worse], model=model, stages={"bottleneck": SCRIPT},
        environment={"code": SCRIPT},
        attempts=[attempt(0, 10) | {"devices": [SCRIPT]}],
        device={"gpus": 1, "nodes": 1, "cpu": "x", "cpus": 1},
    )  # fmt: skip
    markup = page(contents(run))
    assert "<script" not in markup
    assert markup.count("&lt;script&gt;") >= 10


def test_agreement_below_what_was_asked_is_a_loud_warning(tmp_path):
    rows = [shadowed(ok(f"v{n}"), int(n == 0)) for n in range(10)]
    low = made_run(tmp_path / "low", rows, min_agreement=0.95, shadow=1.0)
    assert 'role="alert"' in page(contents(low))
    assert "90.0 % (59.6 to 98.2) of 10 videos in the shadow sample" in shown(low)
    assert "asks for 95 %, which the interval reaches" in shown(low)
    for name, least in {"enough": 0.9, "none": None}.items():
        run = made_run(tmp_path / name, rows, min_agreement=least, shadow=1.0)
        assert 'role="alert"' not in page(contents(run))
        assert "90.0 % same label as unpruned (59.6 to 98.2) of 10 videos" in shown(run)


def test_a_sample_into_which_nothing_fell_is_a_warning_where_agreement_was_asked_for(tmp_path):
    asked = made_run(tmp_path / "asked", [ok("a")], shadow=0.01, min_agreement=0.98)
    assert "Nothing fell into the shadow sample of 1 %" in shown(asked)
    assert 'role="alert"' in page(contents(asked))
    assert contents(asked)["shadow"]["share"] is None
    free = made_run(tmp_path / "free", [ok("a")], shadow=0.01)
    assert 'role="alert"' not in page(contents(free))


def test_a_page_of_dense_labeling_has_segments_and_clips(tmp_path):
    rows = [
        segment(shadowed(ok("long", views=4), 0), 0) | {"labeled_at": at(3)},
        segment(failed("long", "timeout"), 1),
        segment(ok("long", views=2), 2) | {"labeled_at": at(9)},
    ]
    said = shown(made_run(tmp_path, rows, every_s=2.0, shadow=0.5, attempts=[attempt(0, 10)]))
    assert "1 segment of 3 failed: 0 videos failed, and 1 more lack segments." in said
    assert "long (32 s to 64 s): long is timeout" in said
    assert "Segments labeled per second" in said
    assert "of 6 clips have a score below 0.5" in said
    assert "a clip every 2 s" in said
    assert "of 4 clips in the shadow sample" in said


def test_whole_videos_are_called_videos(tmp_path):
    rows = [ok("a") | {"labeled_at": at(1)}, failed("b")]
    said = shown(made_run(tmp_path, rows, attempts=[attempt(0, 4), attempt(100, 110)]))
    assert "1 video of 2 failed." in said
    assert "Protocol videomae-k400, 1x1 (clips x crops)" in said
    assert "Videos labeled per second" in said
    assert "segment" not in said
    assert "14 s wall time of 2 attempts" in said
    assert "nothing ran between two attempts" in said
    assert "Decoders: 3; labelers: 1." in said


def test_an_unpruned_run_says_that_it_kept_every_token(tmp_path):
    run = made_run(
        tmp_path, [ok("a", flops=20)],
        identity={"pruning": {"r": 0}, "protocol": {"every_s": None}},
        model={"architecture": "vit_demo", "kept_grids": [], "flops_per_view_unpruned": 20,
               "labels": ["a"]},
    )  # fmt: skip
    said = shown(run)
    assert "The model was not pruned: every token was kept." in said
    assert "FLOPs the unpruned model's" in said
    assert "Pruning unpruned" in said


def test_gpu_time_is_called_that_where_labelers_had_gpus_alone(tmp_path):
    rows = [ok("a") | {"labeled_at": at(1)}]
    on_gpu = made_run(tmp_path / "gpu", rows, attempts=[attempt(0, 4, gpus=1.0)])
    on_cpu = made_run(tmp_path / "cpu", rows, attempts=[attempt(0, 4)])
    assert "3 ms GPU time" in shown(on_gpu)
    assert "3 ms device time of labelers on CPUs" in shown(on_cpu)


def test_the_cost_of_the_work_says_that_the_shadow_sample_comes_on_top(tmp_path):
    row = ok("a") | {"labeled_at": at(1)}
    more = {"prices": {"gpu_hour": 2.0, "core_hour": 1.0}, "attempts": [attempt(0, 4)]}
    plain = made_run(tmp_path / "plain", [row], **more)
    sampled = made_run(tmp_path / "sampled", [shadowed(row, 1)], shadow=1.0, **more)
    said = "FLOPs, device time and the cost of the work do not include the shadow sample"
    assert (said in shown(plain), said in shown(sampled)) == (False, True)


def test_the_gallery_is_part_of_the_page(tmp_path):
    figures = contents(made_run(tmp_path, [ok("a")]))
    assert "<p>frames</p>" in page(figures, [Markup("<p>frames</p>")])
    assert "Kept tokens of a few videos" not in page(figures)


def test_a_gallery_that_fails_costs_its_pictures_and_not_the_report(tmp_path, monkeypatch):
    def broken(run, count):
        raise RuntimeError(f"{SCRIPT} of {count}")

    monkeypatch.setattr(tokens, "make_gallery", broken)
    write_run_report(made_run(tmp_path, [ok("a")]), gallery=4)
    markup = (tmp_path / "report.html").read_text()
    assert "The gallery could not be made: <script>alert(1)</script> of 4" in text_of(markup)
    assert "<script" not in markup


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.0411, "41.1 ms"), (7.25, "7.25 s"), (59.96, "60 s"), (725, "12 min 5 s"),
        (12_000, "3 h 20 min"), (187_300, "2 d 4 h"),
    ],
)  # fmt: skip
def test_durations_are_read_at_a_glance(seconds, said):
    assert formatting.duration(seconds) == said


def test_small_amounts_of_money_are_no_nothing():
    assert [formatting.money(amount, "EUR") for amount in (0.0, 0.0004, 1.5, 1234.5)] == [
        "0 EUR", "0.0004 EUR", "1.5 EUR", "1,234.50 EUR",
    ]  # fmt: skip


def test_times_are_told_in_utc_and_what_is_no_time_as_it_stands():
    assert formatting.moment("2026-11-26T10:16:26+01:00") == "2026-11-26 09:16:26 UTC"
    assert formatting.moment("soon") == "soon"
    assert formatting.moment(None) is None


@needs_browser
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_a_browser_shows_the_plots_without_errors_and_without_sideways_scrolling(tmp_path, size):
    long = "a-folder-with-a-long-name/" * 8 + "video.mp4"
    rows = [ok(f"{n}-{long}") | {"labeled_at": at(n)} for n in range(20)]
    rows += [failed(f"broken/{long}") | {"error": "no_space_in_this_reason" * 20}]
    run = made_run(tmp_path, rows, attempts=[attempt(0, 8), attempt(5000, 5013)])
    write_run_report(run, gallery=0)
    with browser_page(tmp_path / "report.html", size) as opened:
        assert opened.console_errors() == []
        assert opened.requests() == []
        assert opened.width_overflow() == 0
        plots = opened.run(
            "return [...document.querySelectorAll('figure svg')].map(s => s.clientHeight)"
        )
    assert len(plots) == 2 + 1 + 2
    assert min(plots) > 100
