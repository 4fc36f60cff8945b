"""A head is trained from a run and a list of labels, and fits the run."""

import json

import numpy as np
import pytest

from jobs.train_head import main
from pipeline.embeddings.features import feature_spec, read_head
from pipeline.job_commands import job_command
from pipeline.run.video_digests import unpacked
from pipeline.storage.location import Location
from tests.embedding_runs import CHANNELS, embedding_run, with_vectors
from tests.pipeline.run.test_tables import failed, ok
from tests.report_runs import made_run

VIDEOS = 24


def name_of(number):
    return f"v{number:02}"


def vectors_of(number):
    """Features of two views: the first channel says which of two classes, the next two which of
    two independent labels.
    """
    draw = np.random.default_rng(number)
    vectors = draw.normal(size=(2, CHANNELS)) * 0.3
    vectors[:, :3] += [number % 2 * 3, number // 2 % 2 * 3, number // 4 % 2 * 3]
    return vectors.astype(np.float16)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    rows = [with_vectors(ok(name_of(each)), vectors_of(each)) for each in range(VIDEOS)]
    return embedding_run(tmp_path_factory.mktemp("run") / "run", [failed("x"), *rows])


@pytest.fixture
def train(run, tmp_path, capsys, monkeypatch):
    """Runs the command on a list with these rows: exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)

    def trained(rows, *flags, output=None, header="video_id,label"):
        (tmp_path / "labels.csv").write_text("\n".join([header, *rows]) + "\n")
        code = main([str(output or run.root.uri), "labels.csv", *flags])
        out, err = capsys.readouterr()
        return code, out, err

    return trained


def one_each(count=VIDEOS):
    return [f"{name_of(number)},{'cat' if number % 2 else 'dog'}" for number in range(count)]


def test_a_head_labels_the_run_that_it_was_trained_on(train, run, tmp_path):
    code, out, _ = train(one_each(), "-o", "my.safetensors", "--labels-license", "CC0-1.0")
    assert code == 0
    flags = ("--head", "my.safetensors")
    new = job_command("label_k400", "INPUT", "NEW_OUTPUT", "--checkpoint", "demo", *flags)
    again = job_command("relabel", run.root.uri, "NEW_OUTPUT", *flags)
    assert out.partition("\nNext:\n")[2].splitlines()[1::2] == [f"    {new}", f"    {again}"]
    head = read_head(Location.of(str(tmp_path / "my.safetensors")))
    assert head.labels == ("cat", "dog")
    assert head.license == "cc-by-4.0"
    assert head.trained["labels_license"] == "CC0-1.0"
    assert len(unpacked(head.trained_on)) == head.trained["videos"]
    head.features.check_fits(feature_spec(run.load()), "the run")
    for number in range(VIDEOS):
        scores = head.probabilities(vectors_of(number)).mean(axis=0)
        assert head.labels[scores.argmax()] == ("cat" if number % 2 else "dog")


def test_the_screen_and_the_file_say_the_same_as_the_data(train, tmp_path):
    code, out, _ = train(one_each(), "--json", "report.json")
    assert code == 0
    report = json.loads((tmp_path / "report.json").read_text())
    assert read_head(Location.of("head.safetensors")).trained == report
    assert (report["videos"], report["views"], report["kind"]) == (VIDEOS, 2 * VIDEOS, "softmax")
    accuracy = report["accuracy"]["overall"]
    value, low = (100 * accuracy[name] for name in ("value", "low"))
    assert f"{value:.1f} % (95 % interval {low:.1f} to" in out
    assert report["accuracy"]["classes"][0]["labels"] == VIDEOS // 2


def test_where_no_label_is_read_the_columns_that_are_not_read_are_named(train):
    code, _, err = train(one_each(), header="video_id,what")
    assert code == 2
    assert "without a label: v00, v01, v02, ..." in err
    assert "of which 'what' is not read" in err


def test_the_order_of_the_rows_changes_nothing(train, tmp_path):
    assert train(one_each(), "-o", "a")[0] == 0
    assert train(one_each()[::-1], "-o", "b")[0] == 0
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_rows_without_a_labeled_video_are_counted_and_named(train):
    code, out, _ = train([*one_each(), "x,cat", "y,cat", "z,dog", "v00,"])
    assert code == 0
    said = " ".join(out.split())
    assert "1 failed in the run: x" in said
    assert "2 not in the run: y, z" in said
    assert "1 without a label: v00" in said


def test_videos_are_found_by_their_address_too(train, run):
    rows = [f"/x/{row}" for row in one_each()]
    code, _, err = train(rows, header="path,label")
    assert code == 0, err


def test_labels_with_semicolons_are_independent_of_each_other(train, tmp_path):
    rows = []
    for number in range(VIDEOS):
        names = [name for bit, name in enumerate(("wet", "red")) if number >> (bit + 1) & 1]
        rows.append(f"{name_of(number)},{';'.join(names)}")
    code, out, _ = train(rows)
    assert code == 0
    assert "micro-F1" in out
    head = read_head(Location.of("head.safetensors"))
    assert head.kind == "sigmoid"
    assert head.labels == ("red", "wet")
    scores = head.probabilities(vectors_of(6)).mean(axis=0)
    assert (scores > 0.5).all()


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([f"{name_of(number)},cat" for number in range(10)], "all 10 videos have the label 'cat'"),
        (one_each(4), "4 labeled videos are too few"),
        (["p,cat", "q,dog"], "2 not in the run: p, q"),
        ([f"{name_of(number)}," for number in range(10)], "10 without a label: v00, v01, v02, ..."),
        ([*one_each(), "v00,cat"], "v00 has two labels in the list, 'cat' and 'dog'"),
    ],
)
def test_labels_that_no_head_can_be_trained_on_are_refused(train, tmp_path, rows, said):
    code, out, err = train(rows)
    assert (code, out) == (2, "")
    assert said in err
    assert not (tmp_path / "head.safetensors").exists()


def test_a_run_without_embeddings_is_refused_with_the_flag_that_stores_them(train, tmp_path):
    plain = made_run(tmp_path / "plain", [ok("a")])
    plain.success.write_bytes(b"")
    code, _, err = train(one_each(), output=plain.root.uri)
    assert code == 2
    assert "--embeddings" in err


def test_embeddings_that_are_not_finite_are_refused_by_the_name_of_a_video(train, tmp_path):
    vectors = [vectors_of(number) for number in range(10)]
    vectors[7][0, 0] = np.inf
    rows = [with_vectors(ok(name_of(number)), each) for number, each in enumerate(vectors)]
    run = embedding_run(tmp_path / "run", rows)
    code, _, err = train(one_each(10), output=run.root.uri)
    assert code == 2
    assert "1 of the labeled videos have embeddings that are not finite, such as v07" in err


def test_a_file_that_is_there_is_replaced_only_by_request(train, tmp_path):
    (tmp_path / "head.safetensors").write_text("mine")
    code, _, err = train(one_each())
    assert code == 2
    assert "--overwrite" in err
    assert train(one_each(), "--overwrite")[0] == 0
    assert (tmp_path / "head.safetensors").read_bytes() != b"mine"
