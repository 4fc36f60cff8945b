"""Pages run no script but their own and fetch nothing, by a policy that browsers enforce."""

import base64
import hashlib
import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from markupsafe import Markup

import pipeline
from pipeline.reports.html.figures import inline_svg, new_figure
from pipeline.reports.html.render import _ENVIRONMENT, render
from pipeline.reports.html.report import (
    Bullets,
    Code,
    Elements,
    Facts,
    Heading,
    Plot,
    Plots,
    Section,
    Table,
    Text,
    Tile,
    Tiles,
    report_page,
)
from sta.text import printable
from tests.browser import browser_page, needs_browser

FOLDER = Path(pipeline.__file__).parent
TEMPLATES = sorted(file.relative_to(FOLDER).as_posix() for file in FOLDER.rglob("*.j2"))
POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; "
    "form-action 'none'"
)
PICTURE = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"
HOSTILE = "<script>a</script>\x1b[2J\u202e https://h/?sign=hunter2"


def policy_of(page):
    (found,) = re.findall(r'<meta http-equiv="Content-Security-Policy" content="([^"]*)">', page)
    # It holds for what follows alone.
    assert page.index("Content-Security-Policy") < page.index("<style")
    return found


def whole_page(text, *elements):
    """A page with a block of every kind that holds `text`, and ready elements."""
    figure, axes = new_figure()
    axes.set_title(text)
    axes.plot([1, 2], label=text)
    svg = inline_svg(figure, text)
    blocks = [
        Tiles([Tile(text, text, text)]),
        Text(text),
        Heading(text),
        Bullets([text]),
        Facts([(text, text)]),
        Code(text, text),
        Table([text] * 4, [[text] * 4], title=text, about=text),
        Plots([Plot(svg, text)]),
        Elements(elements),
    ]
    return report_page(text, [Section(blocks, text)], lead=[text])


def player_page():
    """The template with a script of its own, with the least that it takes."""
    template = FOLDER / "reports/tokens/view_page.html.j2"
    assert "block player" in template.read_text()
    child = (
        '{% extends "reports/html/base.html.j2" %}'
        "{% block player %}document.title = 'run' && \"run\";{% endblock %}"
    )
    return _ENVIRONMENT.from_string(child).render(title="not run")


@contextmanager
def listening(contacted):
    """The address of a server that notes each request in `contacted`."""

    class Noting(BaseHTTPRequestHandler):
        def do_GET(self):
            contacted.append(self.path)
            self.send_error(404)

        def log_message(self, *_):
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Noting)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_one_template_is_a_document_and_all_pages_extend_it():
    documents = [name for name in TEMPLATES if "<html" in (FOLDER / name).read_text()]
    assert documents == ["reports/html/base.html.j2"]
    for name in TEMPLATES:
        text = (FOLDER / name).read_text()
        if "{% block" in text and name not in documents:
            assert text.startswith('{% extends "reports/html/base.html.j2" %}'), name


@pytest.mark.parametrize("name", TEMPLATES)
def test_no_template_has_what_the_policy_forbids(name):
    text = (FOLDER / name).read_text()
    assert not re.search(r"<[^>]*\son\w+=", text)
    assert not re.search(r"""(src|href)\s*=\s*["']?(https?:|//|javascript:)""", text)
    scripts = re.findall(r"<script[^>]*>", text)
    allowed = {
        "reports/html/base.html.j2": ["<script>"],
        "reports/tokens/view_page.html.j2": ['<script type="application/json" id="data">'],
    }
    assert scripts == allowed.get(name, [])


def test_html_is_built_by_templates_alone():
    for file in FOLDER.rglob("*.py"):
        assert "<html" not in file.read_text() or file.name == "sniffing.py", file


def test_a_page_allows_styles_and_its_own_pictures_and_no_script():
    assert policy_of(whole_page("text")) == POLICY


def test_a_page_with_a_script_allows_that_script_by_its_hash_and_no_other():
    page = player_page()
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy_of(page) == f"{POLICY}; script-src 'sha256-{digest}'"


def test_no_block_shows_control_characters_secrets_or_markup_of_others():
    page = whole_page(HOSTILE, Markup("<p>{}</p>").format("\x1b[2J\x9b"))
    assert all(printable(line) == line for line in page.split("\n"))
    assert "<script" not in page
    assert page.count("\\x1b[2J\\u202e") > 10
    assert "hunter2" not in page


def test_a_figure_of_others_is_cleaned_before_it_stands_in_a_page():
    item = render(
        "reports/tokens/gallery_item.html.j2", image=None, video_id=HOSTILE, reason=HOSTILE
    )
    assert "hunter2" not in item
    assert all(printable(line) == line for line in item.split("\n"))


@needs_browser
def test_a_browser_shows_a_whole_page_without_a_word(tmp_path):
    file = tmp_path / "page.html"
    file.write_text(whole_page("text", Markup(f'<img id="own" src="{PICTURE}">')))
    with browser_page(file) as page:
        assert page.console_errors() == []
        assert page.requests() == []
        assert page.run("return document.getElementById('own').naturalWidth") == 1
        width = "return getComputedStyle(document.querySelector('main')).maxWidth"
        assert page.run(width) == "1152px"


@needs_browser
def test_a_browser_runs_the_own_script_and_refuses_what_a_hole_would_let_in(tmp_path):
    own, holed = tmp_path / "own.html", tmp_path / "holed.html"
    contacted: list[str] = []
    own.write_text(player_page())
    with browser_page(own) as page:
        assert page.console_errors() == []
        assert page.run("return document.title") == "run"
    with listening(contacted) as server:
        injected = (
            "<script>document.title = 'owned'</script>"
            "<img src=x onerror=\"document.title = 'owned'\">"
            f"<img src='{server}/x.png'><iframe src='{server}/'></iframe>"
            f"<link rel='stylesheet' href='{server}/x.css'>"
        )
        holed.write_text(whole_page("text", Markup(injected)))
        with browser_page(holed) as page:
            assert page.run("return document.title") == "text"
            assert any("Content Security Policy" in error for error in page.console_errors())
    assert contacted == []
