"""A copy and a video that was encoded again are found in a real run, with pictures and times."""

import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from jobs.find import main
from tests.browser import DESKTOP, PHONE, browser_page, needs_browser
from tests.search_runs import searched_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return searched_run(tmp_path_factory.mktemp("searched"))


@pytest.fixture(scope="module")
def names(run):
    return pq.read_table(run.videos.uri)["video_id"].to_pylist()


def test_a_copy_and_a_video_that_was_encoded_again_are_duplicates(run, names, tmp_path, capsys):
    out = tmp_path / "found.json"
    code = main([run.root.uri, "--duplicates", "0.98", "--json", str(out), "--out", str(tmp_path)])
    assert code == 0
    groups = {}
    for row in json.loads(out.read_text())["rows"]:
        groups.setdefault(row["group"], set()).add(row["video_id"])
    assert {names[0], "copy"} in groups.values()
    assert {names[1], "encoded-again"} in groups.values()
    assert "2 groups of near-duplicates, 4 of 8 videos" in capsys.readouterr().out


def test_the_copy_of_a_video_is_the_most_like_it_and_has_a_picture(run, names, tmp_path, capsys):
    assert main([run.root.uri, "--like", names[0], "-k", "3", "--out", str(tmp_path)]) == 0
    rows = pq.read_table(tmp_path / f"like-{names[0]}.parquet").to_pylist()
    assert (rows[0]["video_id"], rows[0]["cosine"]) == ("copy", 1.0)
    assert rows[1]["cosine"] < 0.98
    page = (tmp_path / f"like-{names[0]}.html").read_text()
    assert page.count("data:image/jpeg") == 4
    assert "No picture" not in page


def test_the_moment_of_a_video_is_found_in_its_copy(run, names, tmp_path, capsys):
    path = pq.read_table(run.videos.uri)["uri"].to_pylist()[1]
    assert main([run.root.uri, "--like", f"{path}@4.5", "-k", "2", "--out", str(tmp_path)]) == 0
    (table,) = Path(tmp_path).glob("*.parquet")
    first = pq.read_table(table).to_pylist()[0]
    assert first["video_id"] == "encoded-again"
    assert first["clip"] == json.loads(pq.read_schema(table).metadata[b"view"])["clip"]
    assert "encoded-again" in capsys.readouterr().out


@needs_browser
@pytest.mark.parametrize("size", [DESKTOP, PHONE])
@pytest.mark.parametrize("what", [["--duplicates", "0.9"], ["--like", "copy@2"]])
def test_a_page_stands_alone_and_fits_without_errors(run, what, size, tmp_path, capsys):
    assert main([run.root.uri, *what, "--out", str(tmp_path)]) == 0
    (file,) = tmp_path.glob("*.html")
    with browser_page(file, size) as page:
        assert page.console_errors() == []
        assert page.requests() == []
        assert page.inner_width() == size[0]
        assert page.width_overflow() == 0


def test_a_page_can_be_made_when_the_videos_are_gone(run, tmp_path, capsys):
    moved = tmp_path / "run"
    shutil.copytree(run.root.uri, moved)
    for table in ("units", "videos"):
        for file in (moved / table).glob("*.parquet"):
            rows = pq.read_table(file)
            place = rows.schema.get_field_index("uri")
            gone = [[f"/gone/{each}" for each in rows["video_id"].to_pylist()]]
            pq.write_table(rows.set_column(place, rows.schema.field(place), gone), file)
    assert main([str(moved), "--like", "copy", "--out", str(tmp_path)]) == 0
    page = (tmp_path / "like-copy.html").read_text()
    assert "data:image/jpeg" not in page
    assert page.count("No picture: ") == 8


def test_a_wrong_video_is_one_line_that_names_the_nearest(run, tmp_path, capsys):
    assert main([run.root.uri, "--like", "copi", "--out", str(tmp_path)]) == 2
    assert "has no video 'copi'; did you mean copy?" in capsys.readouterr().err
