"""An earlier run is a proxy at no cost: what it says is known of everything, and checked."""

import dataclasses
import json

import numpy as np
import pyarrow.parquet as pq
import pytest

import pipeline
from pipeline.errors import UsageError
from pipeline.inputs.manifest import unit_id
from pipeline.questions.answer import text
from pipeline.questions.flags import AskFlags
from pipeline.questions.inquiry import answer_question
from pipeline.questions.intervals.prediction_powered import PredictionPowered
from pipeline.questions.page import page
from pipeline.questions.select import select
from tests.pipeline.questions.earlier_runs import earlier_run
from tests.pipeline.questions.made_archive import LABELS, made_archive
from tests.pipeline.questions.test_inquiry import asked, share_of

RECORDINGS = {"name": "videomae-k400", "clips": 8, "crops": 1, "every_s": 2.0}


def with_run(archive, tmp_path, *, question="share of rare", names=None, scores=None, **more):
    """A question with an earlier run over the archive, or a part of it."""
    settings = {name: more.pop(name) for name in ("within", "by", "truth", "most") if name in more}
    made = earlier_run(
        tmp_path / "night",
        archive.names if names is None else names,
        archive.scores if scores is None else scores,
        **more,
    )
    return asked(tmp_path / "out", question, proxy=False, proxy_run=made, **settings)


def test_scores_that_are_known_of_everything_narrow_the_interval_and_label_nothing(
    tmp_path, monkeypatch
):
    archive = made_archive(monkeypatch)
    own = answer_question(asked(tmp_path / "own"), confidence=0.95)
    archive.labeled.clear()
    answer = answer_question(with_run(archive, tmp_path), confidence=0.95)
    (found,) = answer.estimates
    assert found.low <= share_of(archive, "rare") <= found.high
    assert found.half_width <= 0.02
    assert {name for name, _ in archive.labeled} == {"reference"}
    last = answer.sources[0].looks[-1]
    assert last.reference <= own.sources[0].looks[-1].reference
    assert found.half_width < own.estimates[0].half_width
    assert last.proxy == 4000
    assert last.flops == last.reference * 5 * 4000
    assert found.proxy_weight > 0.5


def test_the_mean_score_is_known_from_the_beginning_for_each_group(tmp_path, monkeypatch):
    archive = made_archive(monkeypatch)
    made = []
    before = PredictionPowered.__post_init__
    monkeypatch.setattr(
        PredictionPowered, "__post_init__", lambda self: (made.append(self), before(self))[1]
    )
    given = with_run(archive, tmp_path, question="share of rare, common", by="prefix", within=0.2)
    answer = answer_question(given, confidence=0.95)
    night = np.array([name.startswith("night") for name in archive.names])
    for one, each in zip(made, answer.estimates, strict=True):
        rows = {"": night | ~night, "night": night, "day": ~night}[each.group]
        scores = archive.scores.astype(np.float32)[rows, LABELS.index(each.label)]
        assert one.proxy_mean == pytest.approx(scores.mean(dtype=np.float64), abs=1e-12)
        assert one.population == rows.sum()
        truth = (archive.labels[rows] == LABELS.index(each.label)).mean()
        assert each.low <= truth <= each.high


def test_videos_that_it_lacks_have_a_score_of_0_and_are_told(tmp_path, monkeypatch):
    archive = made_archive(monkeypatch)
    given = with_run(
        archive,
        tmp_path,
        names=[*archive.names[500:], "another.mp4"],
        scores=np.concatenate([archive.scores[500:], archive.scores[:1]]),
        failed=archive.names[600:700],
    )
    answer = answer_question(given, confidence=0.95)
    (found,) = answer.estimates
    assert found.low <= share_of(archive, "rare") <= found.high
    said = " ".join(text(answer).split())
    assert "of 4,000 videos 500 are not in it and 100 failed in it; their score is 0" in said
    assert answer.sources[0].looks[-1].proxy == 3400


def test_classes_are_matched_by_name(tmp_path, monkeypatch):
    archive = made_archive(monkeypatch)
    one = answer_question(with_run(archive, tmp_path / "a"), confidence=0.95)
    turned = np.concatenate([np.zeros((4000, 1)), archive.scores[:, ::-1]], axis=1)
    labels = ("new", "other", "common", "Rare")
    given = with_run(archive, tmp_path / "b", scores=turned, labels=labels)
    other = answer_question(given, confidence=0.95)
    assert one.estimates == other.estimates


def test_the_answer_names_the_run_its_pruning_its_date_and_its_agreement(tmp_path, monkeypatch):
    archive = made_archive(monkeypatch)
    answer = answer_question(with_run(archive, tmp_path), confidence=0.95)
    run = answer.sources[0].proxy_run
    sample = sorted(archive.names, key=unit_id)[: run.agreement.count]
    places = [archive.names.index(name) for name in sample]
    same = (archive.scores.argmax(axis=1) == 0)[places] == (archive.labels == 0)[places]
    assert run.agreement.value == pytest.approx(same.mean())
    said = " ".join(text(answer).split())
    assert f"the run {tmp_path}/night of 2026-11-24 (vit_demo, r = 4, 1x1 views)" in said
    assert f"{run.agreement.percent()} of {run.agreement.count:,} videos" in said
    assert "2026-11-24" in page(answer)
    assert all(len(line) <= 80 for line in text(answer).splitlines() if "/" not in line)


def test_a_head_may_not_know_the_sample_which_the_answer_says(tmp_path, monkeypatch):
    archive = made_archive(monkeypatch)
    said = "if the head was not trained on videos of this sample beyond the first round"
    one = answer_question(with_run(archive, tmp_path / "a"), confidence=0.95)
    assert said not in " ".join(text(one).split())
    given = with_run(archive, tmp_path / "b", identity={"head": "sha256:h", "relabeled": "/e"})
    other = " ".join(text(answer_question(given, confidence=0.95)).split())
    assert said in other
    assert "a head over the embeddings of /e" in other


@pytest.mark.parametrize("trained", [slice(0, 600), slice(150, 300)])
def test_a_head_that_was_trained_on_later_rounds_of_the_sample_is_refused(
    tmp_path, monkeypatch, trained
):
    archive = made_archive(monkeypatch)
    sample = sorted(archive.names, key=unit_id)[trained]
    with pytest.raises(UsageError, match="was trained on videos of this question's sample"):
        answer_question(with_run(archive, tmp_path, trained_on=sample), confidence=0.95)


def test_a_head_of_random_videos_or_of_the_first_round_is_a_proxy(tmp_path, monkeypatch):
    archive = made_archive(monkeypatch)
    first = sorted(archive.names, key=unit_id)[:200]
    for name, trained in (("a", archive.names[:600]), ("b", first)):
        given = with_run(
            archive, tmp_path / name, trained_on=trained, identity={"head": "sha256:h"}
        )
        answer = answer_question(given, confidence=0.95)
        assert answer.is_met
        assert "if the head was not trained" not in " ".join(text(answer).split())


def test_a_set_may_not_rest_on_a_head_of_the_first_round_either(tmp_path, monkeypatch):
    archive = made_archive(monkeypatch)
    first = sorted(archive.names, key=unit_id)[:200]
    given = with_run(archive, tmp_path, question="videos with common", trained_on=first)
    with pytest.raises(UsageError, match="was trained on videos of this question's sample"):
        select(
            given.question,
            given.reference,
            None,
            recall=0.9,
            confidence=0.95,
            most=None,
            output=given.output,
            proxy_run=given.proxy_run,
        )


def test_a_question_asked_again_has_the_same_answer(tmp_path, monkeypatch):
    archive = made_archive(monkeypatch)
    given = with_run(archive, tmp_path)
    one, other = (answer_question(given, confidence=0.95).to_json() for _ in range(2))
    assert json.dumps(one) == json.dumps(other)


def test_labels_of_people_and_an_earlier_run_label_nothing(tmp_path, monkeypatch):
    archive = made_archive(monkeypatch)
    truth = tmp_path / "truth.csv"
    rows = zip(archive.names, archive.labels, strict=True)
    truth.write_text("video_id,label\n" + "".join(f"{n},{LABELS[k]}\n" for n, k in rows))
    answer = answer_question(with_run(archive, tmp_path, truth=truth), confidence=0.95)
    assert answer.is_met
    assert archive.labeled == []
    assert answer.sources[0].cost is None
    assert "FLOPs" not in text(answer)
    assert page(answer)


def test_a_few_videos_are_all_labeled_and_compared_with_the_run(tmp_path, monkeypatch):
    archive = made_archive(monkeypatch, units=100)
    answer = answer_question(with_run(archive, tmp_path), confidence=0.95)
    (found,) = answer.estimates
    assert found.low == found.high == pytest.approx(share_of(archive, "rare"))
    assert answer.sources[0].proxy_run.agreement.count == 100


def test_the_other_input_has_a_proxy_of_its_own(tmp_path, monkeypatch):
    archive = made_archive(monkeypatch)
    one = with_run(archive, tmp_path / "one", within=0.06)
    one = dataclasses.replace(one, alpha=0.025)
    other = asked(tmp_path / "two", within=0.06, alpha=0.025)
    answer = answer_question(one, confidence=0.95, against=other)
    (found,) = answer.differences
    assert found.low <= 0 <= found.high
    assert [each.proxy_run is None for each in answer.sources] == [False, True]


def test_the_videos_with_a_label_are_found_without_labeling_by_a_proxy(tmp_path, monkeypatch):
    archive = made_archive(monkeypatch, agreement=0.97)
    given = with_run(archive, tmp_path, question="videos with common")
    found = select(
        given.question,
        given.reference,
        None,
        recall=0.9,
        confidence=0.95,
        most=None,
        output=given.output,
        proxy_run=given.proxy_run,
    )
    chosen = set(pq.read_table(tmp_path / "out" / "selected")["video_id"].to_pylist())
    common = {n for n, k in zip(archive.names, archive.labels, strict=True) if k == 1}
    assert len(common & chosen) >= 0.9 * len(common)
    assert found.chosen == len(chosen) < 0.6 * 4000
    assert {name for name, _ in archive.labeled} == {"reference"}
    assert found.flops == found.found.references * 5 * 4000
    assert "the run " in " ".join(found.text.split())
    assert json.loads(json.dumps(found.to_json()))["proxy_run"]["units"] == 4000


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"labels": ("fare", "common", "other")}, "night: 'rare' is no class .* such as fare"),
        ({"sample": "0123"}, "holds a sample alone"),
        ({"identity": {"budget": "flops"}}, "has a budget"),
        ({"identity": {"variants": {"a": {"r": 1}}}}, "holds a sweep"),
        (
            {"identity": {"protocol": RECORDINGS}},
            "has segments of 16 s with a clip every 2 s, and the question is asked of whole videos",
        ),
        ({"scores": np.zeros((4000, 0))}, "labels without probabilities"),
    ],
)
def test_a_run_that_cannot_be_the_proxy_is_refused_with_the_reason(
    tmp_path, monkeypatch, more, said
):
    archive = made_archive(monkeypatch)
    with pytest.raises(UsageError, match=said):
        answer_question(with_run(archive, tmp_path, **more), confidence=0.95)


def test_a_run_that_is_not_finished_or_of_other_videos_is_refused(tmp_path, monkeypatch):
    archive = made_archive(monkeypatch)
    given = with_run(archive, tmp_path)
    (tmp_path / "night" / "_SUCCESS").unlink()
    with pytest.raises(UsageError, match="night is not finished"):
        answer_question(given, confidence=0.95)
    other = with_run(archive, tmp_path / "b", names=[f"b/{name}" for name in archive.names])
    with pytest.raises(UsageError, match="has a label of no unit of INPUT"):
        answer_question(other, confidence=0.95)
    with pytest.raises(UsageError, match="there is no run in"):
        answer_question(dataclasses.replace(given, proxy_run=str(tmp_path)), confidence=0.95)
    assert not (tmp_path / "out").exists()


def test_a_run_that_lost_a_part_of_the_order_of_samples_is_refused(tmp_path, monkeypatch):
    archive = made_archive(monkeypatch)
    lost = sorted(archive.names, key=unit_id)[:150]
    with pytest.raises(UsageError, match="lacks labels of a part of the order"):
        answer_question(with_run(archive, tmp_path, failed=lost), confidence=0.95)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"proxy": False}, "--no-proxy does not go with --proxy-run"),
        ({"proxy_r": 4}, "--proxy-r does not go with --proxy-run"),
        ({"proxy_views": (2, 1)}, "--proxy-views does not go with --proxy-run"),
    ],
)
def test_flags_of_a_proxy_of_its_own_are_refused(settings, said):
    with pytest.raises(UsageError, match=said):
        AskFlags(proxy_run="night", **settings)


def test_a_rate_has_no_use_for_a_proxy(tmp_path):
    settings = {"output": str(tmp_path / "out"), "checkpoint": "demo", "proxy_run": "night"}
    with pytest.raises(UsageError, match="a rate has no use for a proxy"):
        pipeline.ask("in", "rate of rare per hour", within=1, **settings)
