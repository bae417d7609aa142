"""nginx as `compose.full.yaml` has it, in front of servers that answer as web containers do."""

import http.client
import re
import shutil
import subprocess
import threading
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.e2e.installation import until
from tests.ports import free_port

CONFIGURATION = Path(__file__).parents[2] / "docker/nginx/nginx.conf"
SAID = b'{"error": {"message": "The pool is paused by order."}}'

pytestmark = pytest.mark.skipif(not shutil.which("nginx"), reason="there is no nginx on this machine")


@contextmanager
def container(answers, asked):
    """A server that answers chats with what comes next of these, and pages with 200."""

    class Answer(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            self.answer(200, b"a page")

        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            asked.append(self.server.server_port)
            self.answer(answers.get(self.server.server_port, answers["else"]), SAID)

        def answer(self, status, body):
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


class Stack:
    def __init__(self, port, ports, answers, asked):
        self.port, self.ports = port, ports
        self.answers, self.asked = answers, asked

    def ask(self, method, path, body=None, key=0):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body, {"Authorization": f"Bearer lgw_somebody-{key}"})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def chat(self, key):
        return self.ask("POST", "/v1/chat/completions", b"{}", key)

    def answers_at_all(self):
        try:
            return self.ask("GET", "/admin/")
        except OSError:
            return None


@pytest.fixture
def stack(tmp_path):
    answers, asked, port = {"else": 200}, [], free_port()
    with ExitStack() as open_ones:
        ports = [open_ones.enter_context(container(answers, asked)) for _ in range(4)]
        [server] = re.findall(r"server web:8317 resolve.*;", text := CONFIGURATION.read_text())
        # Names are asked for at run time, which open-source nginx does from 1.27.3 on.
        servers = "\n".join(server.replace("web:8317 resolve", f"127.0.0.1:{each}") for each in ports)
        text = text.replace(server, servers).replace("resolver 127.0.0.11 valid=5s;", "")
        text = text.replace("listen 80;", f"listen 127.0.0.1:{port};").replace("/run/nginx.pid", f"{tmp_path}/pid")
        # One: each of several has its own opinion of a server, but for what is in the zone.
        (file := tmp_path / "nginx.conf").write_text(text.replace("worker_processes auto;", "worker_processes 1;"))
        command = ["nginx", "-e", f"{tmp_path}/log", "-c", str(file), "-g", "daemon off;"]
        process = open_ones.enter_context(subprocess.Popen(command))
        open_ones.callback(process.terminate)
        stack = Stack(port, ports, answers, asked)
        assert until(stack.answers_at_all, 60)
        yield stack


def test_paused_pool_leaves_the_console_open(stack):
    stack.answers["else"] = 503
    assert [stack.chat(key) for key in range(12)] == [(503, SAID)] * 12
    assert stack.ask("GET", "/admin/") == (200, b"a page")


def test_ready_one_is_found_amid_an_upgrade(stack):
    stack.answers |= {"else": 503, stack.ports[-1]: 200}
    assert [stack.chat(key)[0] for key in range(12)] == [200] * 12


@pytest.mark.parametrize("status", [502, 504])
def test_failed_turn_is_not_run_again(stack, status):
    stack.answers["else"] = status
    assert [stack.chat(key) for key in range(4)] == [(status, SAID)] * 4
    assert len(stack.asked) == 4
