"""A server that takes whatever is posted to it, as collectors of spans and of errors do."""

import gzip
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Receiver(ThreadingHTTPServer):
    """`bodies` are those received, unpacked, and `paths` where they were sent. A context."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Post)
        self.bodies, self.paths = [], set()
        threading.Thread(target=self.serve_forever, args=(0.05,)).start()

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()


class _Post(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.paths.add(self.path)
        self.server.bodies.append(gzip.decompress(body) if self.headers["content-encoding"] == "gzip" else body)
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass
