"""Drift on a run's report: what is compared, what is refused, and what the page says."""

import html
import json
import re

import numpy as np
import pytest

from pipeline.errors import UsageError
from pipeline.reports.run import write_run_report
from pipeline.reports.run.contents import contents
from pipeline.reports.run.drift_section import drift_line
from pipeline.reports.run.page import page
from pipeline.storage.location import Location
from tests.browser import DESKTOP, PHONE, browser_page, needs_browser
from tests.pipeline.run.test_tables import failed, ok
from tests.report_runs import made_run, segment

CHANNELS = 8
SHAPE = {"size": 32, "frames": 16}


def row(name, label, vector, views=2):
    """A labeled video whose views have embeddings around `vector`."""
    made = ok(name, label=label, views=views)
    signs = [0.25 if number % 2 else -0.25 for number in range(views)]
    embedded = [
        view | {"embedding": [np.float16(each + sign) for each in vector]}
        for view, sign in zip(made["views"], signs, strict=True)
    ]
    return made | {"views": embedded}


def rows(run, count=80, *, shift=0.0, labels="ab"):
    draw = np.random.default_rng(sum(map(ord, run)))
    drawn = draw.normal(size=(count, CHANNELS)) + 2
    drawn[:, 0] += shift
    return [
        row(f"{run}/{number:03}", labels[number % len(labels)], vector)
        for number, vector in enumerate(drawn)
    ]


def run_of(folder, made, *, embeddings="views", every_s=None, **model):
    identity = {
        "input": "/archive",
        "pruning": {"r": 1, "score": "sta", "grouping": "released"},
        "protocol": {"every_s": every_s},
        "shape": SHAPE,
    }
    if embeddings is not None:
        identity["embeddings"] = embeddings
    settings = {
        "architecture": "vit_demo",
        "labels": ["a", "b", "c"],
        "kept_grids": [[1, 1, 2]],
        "flops_per_view_unpruned": 20,
        "backbone": "sha256:b",
        "channels": CHANNELS,
    }
    run = made_run(folder, made, every_s=every_s, identity=identity, model=settings | model)
    run.success.write_bytes(b"")
    return run


def compared(today, reference):
    return contents(today, compare_to=reference.root.uri)["drift"]


def text_of(markup):
    body = markup[markup.index("<main>") :]
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", body)).split())


def test_a_run_without_a_reference_says_nothing_of_drift(tmp_path):
    run = run_of(tmp_path, rows("today"))
    figures = contents(run)
    assert figures["drift"] is None
    assert "Drift" not in text_of(page(figures))
    assert drift_line(None) is None


def test_two_draws_of_one_population_have_no_drift(tmp_path):
    found = compared(run_of(tmp_path / "new", rows("new")), run_of(tmp_path / "old", rows("old")))
    assert found["problem"] is None
    assert found["notes"] == []
    assert found["population"]["low"] <= 0.5 <= found["population"]["high"]
    assert found["labels"]["changed"] == 0
    assert found["unseen"]["more_low"] <= 0


def test_a_shift_a_new_class_and_an_odd_video_are_found(tmp_path):
    odd = row("new/odd", "c", [-9.0] * CHANNELS)
    today = run_of(tmp_path / "new", [*rows("new", shift=4, labels="aabc"), odd, failed("broken")])
    reference = run_of(tmp_path / "old", rows("old"))
    found = compared(today, reference)
    assert found["population"]["low"] > 0.5
    assert {each["label"]: each["change"] for each in found["labels"]["classes"]}["c"] == "appeared"
    assert found["farthest"][0]["video_id"] == "new/odd"
    assert found["farthest"][0]["distance"] > found["yardstick"]["limit"]
    assert found["farthest"][0]["nearest"].startswith("old/")
    said = text_of(page(contents(today, compare_to=reference.root.uri)))
    assert "the populations differ" in said
    assert "c appeared 0.00 % 25.93 %" in said
    assert re.search(r"new/odd [\d.]+ c old/", said)
    line = drift_line(found)
    assert line.startswith(f"Drift:     against {reference.root.uri}: embeddings tell the run of ")
    assert "c appeared" in line


@needs_browser
def test_the_section_opens_without_overflow_or_errors(tmp_path):
    label = "a class with quite a long name, as Kinetics has them"
    today = run_of(tmp_path / "new", rows("new", shift=4, labels=["a", label]), labels=["a", label])
    reference = run_of(tmp_path / "old", rows("old", labels=["a"]), labels=["a", label])
    write_run_report(today, gallery=0, compare_to=reference.root.uri)
    for size in (DESKTOP, PHONE):
        with browser_page(tmp_path / "new" / "report.html", size) as opened:
            assert opened.width_overflow() == 0
            assert opened.console_errors() == []
            opened.screenshot(tmp_path / f"{size[0]}.png")


def test_the_order_of_the_rows_changes_nothing(tmp_path):
    reference = run_of(tmp_path / "old", rows("old"))
    made = rows("new", shift=1)
    mixed = [made[place] for place in np.random.default_rng(1).permutation(len(made))]
    one = compared(run_of(tmp_path / "one", made), reference)
    other = compared(run_of(tmp_path / "other", mixed), reference)
    one["farthest"] = [each["video_id"] for each in one["farthest"]]
    other["farthest"] = [each["video_id"] for each in other["farthest"]]
    assert one == other


def test_means_in_videos_and_those_of_views_are_the_same(tmp_path):
    reference = run_of(tmp_path / "old", rows("old"))
    by_views = compared(run_of(tmp_path / "views", rows("new", shift=1)), reference)
    stored = run_of(tmp_path / "videos", rows("new", shift=1), embeddings="videos")
    assert compared(stored, reference) == by_views


def test_runs_without_embeddings_have_the_labels_compared_alone(tmp_path):
    plain = run_of(tmp_path / "new", [ok(f"v{n}", label="a") for n in range(40)], embeddings=None)
    reference = run_of(tmp_path / "old", rows("old"))
    found = compared(plain, reference)
    assert found["embeddings_problem"] == "this run stores no embeddings (--embeddings)"
    assert found["population"] is None
    assert found["labels"]["changed"] == 2
    said = text_of(page(contents(plain, compare_to=reference.root.uri)))
    assert "Embeddings were not compared: this run stores no embeddings (--embeddings)." in said
    assert "b vanished 50.00 % 0.00 %" in said


def test_embeddings_of_another_model_are_refused_and_labels_are_not(tmp_path):
    today = run_of(tmp_path / "new", rows("new"), backbone="sha256:other")
    found = compared(today, run_of(tmp_path / "old", rows("old")))
    assert "(backbone differs)" in found["embeddings_problem"]
    assert found["population"] is None
    assert found["labels"] is not None


def test_another_pruning_is_noted(tmp_path):
    reference = run_of(tmp_path / "old", rows("old"))
    record = reference.load().to_json()
    record["identity"]["pruning"] = {"r": 2, "score": "sta", "grouping": "released"}
    reference.run_json.write_bytes(json.dumps(record).encode())
    today = run_of(tmp_path / "new", rows("new"))
    found = compared(today, reference)
    assert found["population"] is not None
    assert found["notes"] == ["pruning.r: 2 in the reference, 1 in this run"]
    said = text_of(page(contents(today, compare_to=reference.root.uri)))
    assert "may be all or part of the drift" in said
    assert "1 setting differs besides the videos" in drift_line(found)


def test_other_classes_are_refused(tmp_path):
    today = run_of(tmp_path / "new", rows("new"), labels=["a", "b"])
    found = compared(today, run_of(tmp_path / "old", rows("old")))
    assert "3 classes and this run with 2, of which 2 are the same" in found["labels_problem"]
    assert found["labels"] is None
    assert found["population"] is not None
    assert "labels not compared" in drift_line(found)


@pytest.mark.parametrize("what", ["missing", "unfinished", "damaged", "itself", "odd"])
def test_a_reference_that_cannot_be_read_costs_its_section_alone(tmp_path, what):
    today, old = run_of(tmp_path / "new", rows("new", 4)), tmp_path / "old"
    reference = old
    if what == "itself":
        reference = tmp_path / "new"
    elif what == "odd":
        reference = "s3://"
    elif what != "missing":
        run_of(old, rows("old", 4))
        if what == "unfinished":
            (old / "_SUCCESS").unlink()
        else:
            for file in (old / "videos").iterdir():
                file.write_bytes(b"no Parquet")
            for file in (old / "units").iterdir():
                file.write_bytes(b"no Parquet")
    write_run_report(today, gallery=0, compare_to=str(reference))
    figures = json.loads((tmp_path / "new" / "report.json").read_bytes())
    assert figures["totals"]["ok"] == 4
    assert figures["drift"]["problem"]
    said = text_of((tmp_path / "new" / "report.html").read_text())
    assert "It could not be compared: " in said
    assert drift_line(figures["drift"]).startswith("Drift:     not compared with ")


def test_segments_of_one_recording_count_once(tmp_path):
    def recordings(run):
        made = rows(run, 40)
        return [segment(each, number) for each in made for number in range(3)]

    today = run_of(tmp_path / "new", recordings("new"), every_s=2.0)
    reference = run_of(tmp_path / "old", recordings("old"), every_s=2.0)
    found = compared(today, reference)
    assert found["labels"]["today"] == found["labels"]["reference"] == 40
    assert found["unseen"]["count"] == 40
    assert len({each["video_id"] for each in found["farthest"]}) == len(found["farthest"])
    assert all(each["start_s"] is not None for each in found["farthest"])
    videos = compared(run_of(tmp_path / "videos", rows("new")), reference)
    assert "units of the reference are segments" in videos["labels_problem"]
    assert "units of the reference are segments" in videos["embeddings_problem"]


def test_what_others_wrote_is_escaped(tmp_path):
    script = "<script>alert(1)</script>"
    today = run_of(
        tmp_path / "new",
        [row(script, script, [9.0] * CHANNELS), *rows("new")],
        labels=["a", script],
    )
    reference = run_of(
        tmp_path / "old", rows(f"old{script}", labels=[script]), labels=["a", script]
    )
    markup = page(contents(today, compare_to=reference.root.uri))
    assert "<script" not in markup
    assert markup.count("&lt;script&gt;") >= 5


def test_a_run_of_few_videos_has_no_population_shift(tmp_path):
    today = run_of(tmp_path / "new", rows("new", 4))
    reference = run_of(tmp_path / "old", rows("old"))
    found = compared(today, reference)
    assert found["population"] is None
    assert "Too few videos" in text_of(page(contents(today, compare_to=reference.root.uri)))
    nothing = run_of(tmp_path / "none", [failed("a")])
    found = compared(nothing, reference)
    assert found["labels_problem"] == "a run has no labeled video"
    found = compared(today, nothing)
    assert found["embeddings_problem"] == "the reference has no labeled video"


def test_an_embedding_that_float16_cannot_hold_is_left_out(tmp_path):
    bright = row("new/bright", "a", [np.inf] * CHANNELS)
    today = run_of(tmp_path / "new", [*rows("new"), bright])
    found = compared(today, run_of(tmp_path / "old", rows("old")))
    assert found["labels"]["today"] == 81
    assert found["unseen"]["count"] == 80


def test_the_reference_that_run_json_names_is_taken_again(tmp_path):
    run_of(tmp_path / "old", rows("old"))
    today = run_of(tmp_path / "new", rows("new"))
    record = today.load().to_json() | {"compare_to": str(tmp_path / "old")}
    today.run_json.write_bytes(json.dumps(record).encode())
    assert contents(today)["drift"]["reference"].endswith("old")
    aside = Location.of(str(tmp_path / "aside"))
    figures = write_run_report(today, gallery=0, out=aside)
    assert json.loads(aside.child("report.json").read_bytes())["drift"] == figures["drift"]
    with pytest.raises(UsageError):
        write_run_report(today, gallery=-1)
