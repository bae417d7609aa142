"""A receiver of webhooks on loopback."""

from __future__ import annotations

import http.server
import threading
from contextlib import contextmanager


class Receiver(http.server.ThreadingHTTPServer):
    """Keeps what it was sent: path, headers, body. `answer` is status, headers and body of all answers."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.got = []
        self.answer = (200, {}, b'{"errcode": 0, "errmsg": "ok", "code": 0, "msg": "success"}')
        self.url = f"http://127.0.0.1:{self.server_port}"


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append((self.path, dict(self.headers), body))
        status, headers, answer = self.server.answer
        self.send_response(status)
        for name, value in {"Content-Length": str(len(answer)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *args):
        """Silent."""


@contextmanager
def receiving():
    with Receiver() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join(30)
