"""Suggestions of a real run: a page with pictures, and a list of labels to fill in."""

import csv

import pytest

from jobs.suggest import main
from tests.browser import DESKTOP, PHONE, browser_page, needs_browser
from tests.search_runs import searched_run


@pytest.fixture(scope="module")
def suggested(tmp_path_factory):
    folder = tmp_path_factory.mktemp("suggested")
    run = searched_run(folder, videos=4)
    assert main([run.root.uri, "-n", "5", "--out", str(folder / "next")]) == 0
    return folder / "next"


def test_the_page_has_a_picture_and_a_reason_for_each_video(suggested):
    page = (suggested / "suggest.html").read_text()
    assert page.count("data:image/jpeg") == 5
    assert page.count("uncertain 0.") == 3
    with (suggested / "labels.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 5


@needs_browser
@pytest.mark.parametrize("size", [DESKTOP, PHONE])
def test_the_page_stands_alone_and_fits_without_errors(suggested, size):
    with browser_page(suggested / "suggest.html", size) as page:
        assert page.console_errors() == []
        assert page.requests() == []
        assert page.width_overflow() == 0
