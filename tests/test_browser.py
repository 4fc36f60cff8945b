import pytest

from tests.browser import PHONE, browser_page, needs_browser

pytestmark = needs_browser

_WHOLE = (
    '<!doctype html><link rel="icon" href="data:,"><meta name="viewport" '
    'content="width=device-width, initial-scale=1"><body style="threshold:0">'
)


@pytest.fixture
def html(tmp_path):
    def write(body):
        file = tmp_path / "page.html"
        file.write_text(_WHOLE + body)
        return file

    return write


def test_a_page_that_stands_alone_has_no_errors_no_requests_and_fits(html, tmp_path):
    dot = "data:image/gif;base64,R0lGODlhAQABAAAAACw="
    body = f'<img src="{dot}"><div style="height:2000px">x</div>'
    with browser_page(html(body), PHONE) as page:
        assert page.console_errors() == []
        assert page.requests() == []
        assert page.inner_width() == PHONE[0]
        assert page.width_overflow() == 0
        shot = page.screenshot(tmp_path / "page.png").read_bytes()
        assert int.from_bytes(shot[16:20]) == PHONE[0]
        assert int.from_bytes(shot[20:24]) >= 2000


def test_a_script_that_fails_is_a_console_error(html):
    with browser_page(html("<script>missing()</script>")) as page:
        assert any("missing is not defined" in error for error in page.console_errors())


def test_a_request_is_told_even_if_it_fails(html):
    with browser_page(html('<img src="http://127.0.0.1:9/x.png">')) as page:
        assert page.requests() == ["http://127.0.0.1:9/x.png"]


def test_what_is_wider_than_the_window_is_told(html):
    with browser_page(html('<div style="width:500px;height:9px"></div>'), PHONE) as page:
        assert page.width_overflow() > 0
