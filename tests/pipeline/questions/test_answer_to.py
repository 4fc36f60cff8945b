"""What a question leaves in OUTPUT is of that question alone."""

import dataclasses

from pipeline.questions.answer_to import answer_to
from pipeline.questions.flags import AskFlags
from tests.pipeline.questions.made_archive import made_archive
from tests.pipeline.questions.test_inquiry import asked


def test_a_set_leaves_no_page_of_an_earlier_question(tmp_path, monkeypatch):
    made_archive(monkeypatch, units=100)
    options = asked(tmp_path).reference

    def labeling(source, output):
        return dataclasses.replace(options, source=source, output=output)

    def ask(question, **flags):
        return answer_to(question, "/in", str(tmp_path), AskFlags(**flags), labeling)

    found = ask("share of rare", by="prefix")
    assert (found.by, found.task, found.r) == ("prefix", "k400", 0)
    assert (tmp_path / "answer.html").exists()
    ask("videos with common", recall=0.9)
    assert not (tmp_path / "answer.html").exists()
    assert "videos with common" in (tmp_path / "answer.json").read_text()
    assert (tmp_path / "selected").is_dir()
