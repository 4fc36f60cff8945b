"""OUTPUT holds what the last question left alone, and a set tells what a share tells."""

import dataclasses

import pytest

from pipeline.questions.answer_to import answer_to
from pipeline.questions.flags import AskFlags
from tests.pipeline.questions.made_archive import made_archive
from tests.pipeline.questions.test_inquiry import asked


@pytest.fixture
def ask(tmp_path):
    """Asks a question with flags, which goes to `tmp_path`."""
    options = asked(tmp_path).reference

    def labeling(source, output):
        return dataclasses.replace(options, source=source, output=output)

    def answered(question, **flags):
        return answer_to(question, "/in", str(tmp_path), AskFlags(**flags), labeling)

    return answered


def test_a_set_leaves_no_page_of_an_earlier_question(tmp_path, monkeypatch, ask):
    made_archive(monkeypatch, units=100)
    found = ask("share of rare", by="prefix")
    assert (found.by, found.task, found.r) == ("prefix", "k400", 0)
    assert (tmp_path / "answer.html").exists()
    ask("videos with common", recall=0.9)
    assert not (tmp_path / "answer.html").exists()
    assert "videos with common" in (tmp_path / "answer.json").read_text()
    assert (tmp_path / "selected").is_dir()


def test_a_set_that_takes_nearly_as_much_as_everything_tells_how_to_label_everything(
    monkeypatch, ask
):
    made_archive(monkeypatch, units=250, shares=(0.02, 0.3, 0.68))
    told = ask("videos with rare", recall=0.95, max_reference=220, proxy_r=4).text
    assert "labeling everything takes hardly more" in " ".join(told.split())
    assert "/reference --r 0\n" in told
