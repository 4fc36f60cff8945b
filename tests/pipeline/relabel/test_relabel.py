"""A relabeled run: every unit once, labels of the head, costs of the head, and it verifies."""

import dataclasses
import json
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from pipeline.embeddings.read import read_embeddings
from pipeline.errors import RunError, UsageError
from pipeline.inputs.manifest import unit_id
from pipeline.relabel import relabel as module
from pipeline.relabel.relabel import Relabeling, relabel
from pipeline.run.run_directory import RunDirectory
from pipeline.run.sampled import write_sample
from pipeline.run.video_digests import packed
from pipeline.storage.location import Location
from pipeline.storage.parquet_files import read_parquet
from pipeline.verify.verify import verify
from sta.heads import head_bytes, parse_head
from tests.embedding_runs import CHANNELS, embedding_run, head_of, with_vectors
from tests.pipeline.run.test_tables import failed, ok
from tests.report_runs import STRETCH_S, made_run, segment, shadowed
from workers.inference.top_classes import top_classes

VECTORS = np.random.default_rng(1).normal(size=(6, 2, CHANNELS)).astype(np.float16)


def good(name, number):
    return with_vectors(ok(name), VECTORS[number])


@pytest.fixture
def source(tmp_path):
    first = [good("a", 0), failed("x"), shadowed(good("b", 1), 1)]
    return embedding_run(tmp_path / "old", first, [failed("y")], [good("c", 2), good("d", 3)])


def new(tmp_path, name="new"):
    return RunDirectory(Location.of(str(tmp_path / name)))


def rows(run, table):
    return {row["unit_id"]: row for row in pq.read_table(getattr(run, table).uri).to_pylist()}


def test_the_run_records_what_its_head_was_trained_on(source, tmp_path):
    head = head_of(source, trained_on=packed(["a", "b"]))
    relabel(Relabeling(source, new(tmp_path), parse_head(head_bytes(head), "head")))
    assert new(tmp_path).load().model.trained_on == packed(["b", "a"])


def test_every_unit_has_the_labels_that_the_head_gives_its_views(source, tmp_path):
    head, output = head_of(source), new(tmp_path)
    relabel(Relabeling(source, output, head))
    before, after = rows(source, "units"), rows(output, "units")
    assert before.keys() == after.keys()
    for name, unit in after.items():
        if unit["status"] == "failed":
            assert (unit["error_type"], unit["label"]) == (before[name]["error_type"], None)
            continue
        number = "abcd".index(unit["video_id"])
        each = head.probabilities(VECTORS[number])
        mean = each.mean(axis=0, dtype=np.float64)
        ids, scores = top_classes(mean)
        assert unit["label_id"] == ids[0]
        assert unit["label"] == head.labels[ids[0]]
        assert unit["top_ids"] == ids
        assert np.array_equal(unit["top_scores"], np.float32(scores))
        assert np.array_equal(unit["scores"], np.float32(mean))
        for view, probabilities in zip(unit["views"], each, strict=True):
            assert view["label"] == head.labels[probabilities.argmax()]
            assert view["score"] == probabilities.max()


def test_costs_are_those_of_the_head_and_nothing_is_paid_twice(source, tmp_path):
    head, output = head_of(source), new(tmp_path)
    totals = relabel(Relabeling(source, output, head)).finished_totals
    assert totals.flops == 8 * head.flops == 8 * 3 * CHANNELS
    assert (totals.decode_ms, totals.bytes_read, totals.unpruned_units) == (0, 0, 0)
    assert totals.device_ms > 0
    assert (totals.videos, totals.ok) == (6, 4)


def test_the_run_passes_verification_and_is_finished(source, tmp_path):
    output = new(tmp_path)
    relabel(Relabeling(source, output, head_of(source)))
    assert [check for check in verify(output) if check.problem] == []
    assert output.success.exists()
    identity = output.load().identity
    assert identity.relabeled == source.root.uri
    assert identity.head == head_of(source).fingerprint
    assert output.load().model.labels == ("u", "v", "w")


def test_the_report_names_the_head_and_shows_nothing_of_decoding(source, tmp_path):
    output, head = new(tmp_path), head_of(source)
    relabel(Relabeling(source, output, head, head_file="/heads/balls.safetensors"))
    report = json.loads(output.root.child("report.json").read_bytes())
    assert report["run"]["head"] == {
        "name": head.fingerprint[7:19],
        "fingerprint": head.fingerprint,
        "file": "/heads/balls.safetensors",
    }
    page = output.root.child("report.html").read_bytes().decode()
    assert "with head balls.safetensors on" in page
    assert f"/heads/balls.safetensors ({head.fingerprint[7:19]})" in page
    assert source.root.uri in page
    for words in ("To fetch, decode and resize", "decoding", "read from storage"):
        assert words not in page


def test_what_the_rows_say_of_the_video_and_its_tokens_stays(source, tmp_path):
    output = new(tmp_path)
    relabel(Relabeling(source, output, head_of(source)))
    same = "status, error_type, error, frame_count, duration_s, lost_frames, ground_truth, uri"
    of_views = "list_transform(views, lambda v: (v.clip, v.crop, v.start_s, v.kept_token_maps))"
    query = f"SELECT unit_id, {same}, {of_views} FROM '{{}}/*.parquet' ORDER BY unit_id"
    before, after = (duckdb.sql(query.format(r.units.uri)).fetchall() for r in (source, output))
    assert before == after


@pytest.mark.parametrize("keep", [False, True])
def test_embeddings_are_copied_where_they_are_asked_for(source, tmp_path, keep):
    output = new(tmp_path)
    relabel(Relabeling(source, output, head_of(source), keep_embeddings=keep))
    if not keep:
        with pytest.raises(UsageError, match="stores no embeddings"):
            read_embeddings(output.root)
        return
    batches = list(read_embeddings(output.root))
    assert np.array_equal(
        np.concatenate([batch.vectors for batch in batches]), VECTORS[:4].reshape(-1, CHANNELS)
    )
    again = new(tmp_path, "again")
    relabel(Relabeling(output, again, head_of(source, ("p", "q"))))
    assert again.load().model.labels == ("p", "q")


def test_a_recording_is_relabeled_from_its_segments(tmp_path):
    segments = [segment(with_vectors(ok("long"), VECTORS[number]), number) for number in range(2)]
    segments[1] |= {"unit_id": unit_id("long", STRETCH_S, None)}  # it goes to the end
    for view in segments[1]["views"]:
        view["clip"] += int(STRETCH_S)
    protocol = {"name": "videomae-k400", "clips": 2, "crops": 1, "every_s": 1.0}
    source = embedding_run(tmp_path / "old", segments, every_s=1.0, identity={"protocol": protocol})
    head, output = head_of(source), new(tmp_path)
    relabel(Relabeling(source, output, head))
    (video,) = pq.read_table(output.videos.uri).to_pylist()
    mean = head.probabilities(VECTORS[:2].reshape(-1, CHANNELS)).mean(axis=0, dtype=np.float64)
    assert video["label"] == head.labels[mean.argmax()]
    assert video["num_views"] == 4


def test_a_run_with_early_exit_is_relabeled_from_the_views_that_it_evaluated(tmp_path):
    terms = {"threshold": 0.5, "max_views": None, "agreement": 0.99, "confidence": 0.95}
    unit = with_vectors(ok("a"), VECTORS[0][:1]) | {"margins": [0.6]}
    source = embedding_run(tmp_path / "old", [unit], identity={"early_exit": terms})
    output = new(tmp_path)
    relabel(Relabeling(source, output, head_of(source)))
    assert [check for check in verify(output) if check.problem] == []


def test_a_killed_command_goes_on_with_the_files_that_are_missing(source, tmp_path, monkeypatch):
    relabeling = Relabeling(source, new(tmp_path), head_of(source))
    undisturbed = new(tmp_path, "undisturbed")
    relabel(dataclasses.replace(relabeling, output=undisturbed))
    commit = module.commit_rows
    seen = []

    def killed_at_the_second(run, name, table):
        if len(seen) == 1:
            raise KeyboardInterrupt
        seen.append(name)
        commit(run, name, table)

    monkeypatch.setattr(module, "commit_rows", killed_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        relabel(relabeling)
    monkeypatch.setattr(module, "commit_rows", lambda *a: seen.append(a[1]) or commit(*a))
    relabel(relabeling)
    assert len(seen) == len(set(seen)) == 3
    query = "SELECT unit_id, label, scores, flops FROM '{}/*.parquet' ORDER BY unit_id"
    one, other = (duckdb.sql(query.format(r.units.uri)) for r in (undisturbed, relabeling.output))
    assert one.fetchall() == other.fetchall()
    assert len(relabeling.output.load().attempts) == 2
    assert [check for check in verify(relabeling.output) if check.problem] == []


def test_a_finished_run_is_left_as_it_is(source, tmp_path, capsys):
    relabeling = Relabeling(source, new(tmp_path), head_of(source))
    relabel(relabeling)
    before = relabeling.output.run_json.read_bytes()
    relabel(relabeling)
    assert "is complete; nothing to do" in capsys.readouterr().err
    assert relabeling.output.run_json.read_bytes() == before


def test_another_head_into_the_same_output_is_refused(source, tmp_path):
    output = new(tmp_path)
    relabel(Relabeling(source, output, head_of(source)))
    with pytest.raises(UsageError, match="belongs to another configuration: .*head"):
        relabel(Relabeling(source, output, head_of(source, ("p", "q"))))


def test_a_head_for_other_features_is_refused_before_anything_is_written(source, tmp_path):
    head = head_of(source)
    other = dataclasses.replace(head.features, backbone="sha256:other")
    with pytest.raises(UsageError, match="train a head on its embeddings"):
        relabel(Relabeling(source, new(tmp_path), dataclasses.replace(head, features=other)))
    assert not (tmp_path / "new").exists()


def test_a_head_that_was_trained_on_other_pruning_is_told_of(source, tmp_path):
    head = head_of(source)
    other = dataclasses.replace(head.features, pruning={"r": 0})
    made = relabel(Relabeling(source, new(tmp_path), dataclasses.replace(head, features=other)))
    assert any("trained on features with pruning r=0" in note for note in made.model.notes)


def test_runs_without_embeddings_and_output_itself_are_refused(source, tmp_path):
    plain = made_run(tmp_path / "plain", [ok("a")])
    with pytest.raises(UsageError, match="stores no embeddings"):
        relabel(Relabeling(plain, new(tmp_path), head_of(source)))
    with pytest.raises(UsageError, match="is OUTPUT itself"):
        Relabeling(source, source, head_of(source))


def test_a_damaged_source_is_named_with_what_checks_it(source, tmp_path):
    units = pq.read_table(f"{source.units.uri}/x_000000-0.parquet")
    pq.write_table(units.drop_columns(["views"]), f"{source.units.uri}/x_000000-0.parquet")
    with pytest.raises(RunError, match=r"tables of .*old cannot be read"):
        relabel(Relabeling(source, new(tmp_path), head_of(source)))


def test_the_metadata_of_the_tables_names_the_head(source, tmp_path):
    output = new(tmp_path)
    relabel(Relabeling(source, output, head_of(source)))
    for table in (output.units, output.clips, output.videos):
        metadata = pq.read_schema(table.files(".parquet")[0].uri).metadata
        assert json.loads(metadata[b"identity"])["head"] == head_of(source).fingerprint


def test_a_sample_is_relabeled_as_a_sample_and_goes_on_with_it(tmp_path):
    names = sorted("abcdef", key=unit_id)
    rows = [good(name, number) for number, name in enumerate(names)]
    source = embedding_run(tmp_path / "old", rows[:2], rows[2:])
    whole = source.load()
    rest = [f"{source.units.uri}/x_000001-0.parquet", f"{source.checkpoint.uri}/x_000001.parquet"]
    kept = [pq.read_table(each) for each in rest]
    for each in rest:
        Path(each).unlink()
    manifest = pa.concat_tables(read_parquet(file) for file in source.manifest.files(".parquet"))
    first = pc.is_in(manifest["video_id"], value_set=pa.array(names[:2]))
    sample = write_sample(source, manifest.filter(first))
    source.save(dataclasses.replace(whole, sample=sample))
    relabeling = Relabeling(source, new(tmp_path), head_of(source))
    assert relabel(relabeling).finished_totals.videos == 2
    assert [check for check in verify(relabeling.output) if check.problem] == []
    for each, table in zip(rest, kept, strict=True):
        pq.write_table(table, each)
    source.save(whole)
    assert relabel(relabeling).finished_totals.videos == 6
    assert [check for check in verify(relabeling.output) if check.problem] == []
