"""Login pages that want more than a login, in a real Chromium."""

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from bridge.signin.browser import opened
from bridge.signin.page_rules import PageRules, Seen
from bridge.status.attempts import AttemptResult
from tests.browser.conftest import CHROMIUM

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed on this machine")
SECRET = "one-secret-word"
FORM = "<input id=username><input id=password type=password>"


@contextmanager
def site(html="", location=""):
    """A server with one page, or one redirect; its port, and the paths it was asked for."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(302 if location else 200)
            self.send_header("Content-Type", "text/html")
            if location:
                self.send_header("Location", location)
            self.send_header("Content-Length", str(len(html)))
            self.end_headers()
            self.wfile.write(html.encode())

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield server.server_port, asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def browser(tmp_path):
    def browser(url, port, rules=PageRules()):  # noqa: B008 - it is frozen
        return opened(CHROMIUM, tmp_path / "profile", url, port, rules)

    return browser


async def test_redirect_reaches_nothing_else_of_machine(browser):
    with site("the service") as (own, _), site("secret") as (other, asked):
        with site(location=f"http://127.0.0.1:{other}/private") as (first, _):
            async with browser(f"http://localhost:{first}/", own) as page:
                await page.open(10)
                assert page.strayed == f"http://127.0.0.1:{other}/private"
        assert asked == []


async def test_form_in_frame_of_nobody_is_none(browser):
    frame = f"<iframe src='data:text/html,{FORM}'></iframe>"
    with site(frame) as (port, _):
        async with browser(f"http://127.0.0.1:{port}/", port) as page:
            await page.open(10)
            await page.page.frames[-1].wait_for_load_state()
            assert await page.look() == (Seen(), None)


async def test_password_field_is_one_that_hides(browser):
    rules = PageRules(password_fields=("#username",), user_fields=("#nowhere",))
    with site(FORM) as (port, _):
        async with browser(f"http://127.0.0.1:{port}/", port, rules) as page:
            await page.open(10)
            assert (await page.look())[0].password == ""


async def test_picture_shows_nothing_that_was_typed(browser):
    with site("<p>Hello</p><input id=shown>") as (port, _):
        async with browser(f"http://127.0.0.1:{port}/", port) as page:
            await page.open(10)
            empty = await page.screenshot()
            await page.page.fill("#shown", SECRET)
            await page.page.evaluate("document.activeElement.blur()")
            assert await page.screenshot() == empty != b""


async def test_page_that_shows_the_password_has_no_picture(browser):
    with site(f"<p>{SECRET} is wrong</p>") as (port, _):
        async with browser(f"http://127.0.0.1:{port}/", port) as page:
            await page.open(10)
            assert await page.screenshot() != b""
            page.typed = SECRET
            assert await page.screenshot() == b""


async def test_failure_tells_no_query(browser):
    with site() as (port, _):
        pass
    async with browser(f"http://127.0.0.1:{port}/?state=hidden", port) as page:
        with pytest.raises(Exception, match="ERR_") as caught:
            await page.open(10)
    assert caught.value.result is AttemptResult.PAGE_AWAY
    assert "hidden" not in caught.value.detail
