"""A real Chromium behind a proxy on this machine: known hosts go there, the callback does not, others go nowhere."""

import asyncio
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from bridge.signin.browser import opened
from bridge.signin.page_rules import PageRules
from tests.browser.conftest import CHROMIUM

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed on this machine")
PAGE = """<title>first</title><img src="http://elsewhere.example/x"><img src="http://img.known.example/y">
<img src="http://127.0.0.1:{other}/z"><a id="login" href="http://127.0.0.1:{port}/auth/callback?state=1">on</a>"""


@pytest.fixture
def server():
    """Start one that notes what it is asked for, and answers with this page."""
    started = []

    def start(page):
        asked = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                asked.append(self.path)
                body = page().encode()
                self.send_response(200)
                self.send_header("content-type", "text/html")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        found = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=found.serve_forever, daemon=True).start()
        started.append(found)
        return found.server_port, asked

    yield start
    for each in started:
        each.shutdown()
        each.server_close()


async def test_known_hosts_alone_go_through_the_proxy(server, tmp_path, monkeypatch):
    callback, called = server(lambda: "<title>end</title>")
    other, disturbed = server(str)
    proxy, asked = server(lambda: PAGE.format(port=callback, other=other))
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy}")
    rules = PageRules(hosts=("known.example",))
    async with opened(CHROMIUM, tmp_path / "profile", "http://first.example/login", callback, rules) as browser:
        await browser.open(30)
        async with asyncio.timeout(30):
            await browser.page.wait_for_load_state("networkidle")
            await browser.page.click("#login")
            await browser.page.wait_for_url("**/auth/callback**")
            assert await browser.page.title() == "end"
    assert "http://first.example/login" in asked
    assert "http://img.known.example/y" in asked
    assert [each for each in asked if "elsewhere" in each or "127.0.0.1" in each] == []
    assert "/auth/callback?state=1" in called
    assert disturbed == []
