"""Bodies under daphne: what is too large, too slow or too much together is refused while it comes."""

import json
import select
import socket
import subprocess
import sys
from contextlib import contextmanager

import pytest

from tests.prepared import ROOT

MIB = 1 << 20
SERVER = """
import socket, sys
import msgspec
from gateway_project.env import load
from gateway_project.server import daphne_bodies
from gateway_project.server.bounds import Bounds
from gateway_project.server.daphne_server import serve

async def application(scope, receive, send):
    size, more = 0, True
    told = int(dict(scope["headers"]).get(b"content-length", b"0"))
    status = 413 if told > 32 << 20 else 200
    while more and status == 200:
        message = await receive()
        size, more = size + len(message.get("body", b"")), message.get("more_body", False)
    body = b"%d" % size
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})

daphne_bodies.BOUNDS = msgspec.structs.replace(Bounds(), **msgspec.json.decode(sys.argv[2]))
env = load().model_copy(update={"request_buffer_bytes": 4 << 20, "lingma_upload_max_bytes": 6 << 20})
serve(application, [socket.socket(fileno=int(sys.argv[1]))], env, lambda: print("ready", flush=True))
"""
CHAT, MESSAGES, UPLOAD = "/v1/chat/completions", "/v1/messages", "/api/versions/"


@contextmanager
def served(tmp_path, **bounds):
    script = tmp_path / "server.py"
    script.write_text(SERVER)
    environment = {"PATH": "", "DATA_DIR": str(tmp_path), "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}
    with socket.create_server(("127.0.0.1", 0)) as listener:
        command = (sys.executable, str(script), str(listener.fileno()), json.dumps(bounds))
        options = {"stdout": subprocess.PIPE, "pass_fds": [listener.fileno()], "env": environment, "cwd": ROOT}
        with subprocess.Popen(command, **options) as process:
            try:
                assert process.stdout.readline() == b"ready\n"
                yield listener.getsockname()[1]
            finally:
                process.kill()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with served(tmp_path_factory.mktemp("daphne")) as port:
        yield port


class Sending:
    """A request whose body is sent by and by."""

    def __init__(self, port, path, length):
        self.socket = socket.create_connection(("127.0.0.1", port), 60)
        how = "transfer-encoding: chunked" if length is None else f"content-length: {length}"
        self.socket.sendall(f"POST {path} HTTP/1.1\r\nhost: x\r\n{how}\r\n\r\n".encode())

    def send(self, size, *, chunked=False):
        data = b"x" * size
        self.socket.sendall(b"%x\r\n%b\r\n" % (size, data) if chunked else data)
        return self

    def answer(self):
        """Status and body, as soon as they are there."""
        with self.socket, self.socket.makefile("rb") as reader:
            status = int(reader.readline().split()[1])
            length = 0
            while (line := reader.readline()) != b"\r\n":
                name, _, value = line.partition(b":")
                length = int(value) if name.lower() == b"content-length" else length
            return status, reader.read(length)


def refused(sending):
    status, body = sending.answer()
    return status, json.loads(body)


@pytest.mark.parametrize(("path", "most"), [(CHAT, 32), ("/admin/login/", 2.5), (UPLOAD, 6 + 1 / 16)])
def test_announced_body_is_refused_by_its_length(server, path, most):
    """Before any of it has come: the application refuses it, and sees nothing of it."""
    assert Sending(server, path, int(most * MIB) + 1).answer()[1] == b"0"
    assert Sending(server, path, 5).send(5).answer() == (200, b"5")


@pytest.mark.parametrize(("path", "most"), [("/admin/login/", 2.5), (UPLOAD, 6 + 1 / 16)])
def test_unannounced_body_is_refused_when_it_exceeds(server, path, most):
    sending = Sending(server, path, None)
    sending.send(int(most * MIB), chunked=True).send(1, chunked=True)
    assert sending.answer() == (200, b"0")  # nothing of it is left for the application, which goes by its length


def test_client_that_sends_on_reads_the_answer(server):
    sending = Sending(server, CHAT, 33 * MIB).send(33 * MIB)
    assert sending.answer()[0] == 413


def one_refused(*sending):
    """Which comes first is the server's business: who is refused, who is not, and how it was put."""
    [readable], _, _ = select.select([each.socket for each in sending], [], [], 60)
    [loser] = [each for each in sending if each.socket is readable]
    [winner] = [each for each in sending if each is not loser]
    return winner, refused(loser)


def test_bodies_are_bounded_together(server):
    both = [Sending(server, MESSAGES, 4 * MIB).send(3 * MIB) for _ in range(2)]
    other, (status, body) = one_refused(*both)
    assert (status, body["type"], body["error"]["type"]) == (503, "error", "overloaded_error")
    assert other.send(MIB).answer() == (200, b"%d" % (4 * MIB))
    assert Sending(server, CHAT, 4 * MIB).send(4 * MIB).answer()[0] == 200


def test_one_upload_comes_at_a_time(server):
    both = [Sending(server, UPLOAD, 6 * MIB).send(MIB) for _ in range(2)]
    other, (status, _) = one_refused(*both)
    assert status == 503
    assert other.send(5 * MIB).answer()[0] == 200
    assert Sending(server, UPLOAD, 6 * MIB).send(6 * MIB).answer()[0] == 200


@pytest.mark.parametrize(
    "bounds", [{"body_silence_sec": 0.2}, {"body_grace_sec": 0.2, "body_bytes_per_sec": MIB}], ids=["silent", "slow"]
)
def test_slow_body_ends_by_deadline(tmp_path, bounds):
    with served(tmp_path, **bounds) as port:
        sending = [Sending(port, path, 1000).send(10) for path in (CHAT, MESSAGES)]
        (status, openai), (_, anthropic) = (refused(each) for each in sending)
    assert (status, openai["error"]["code"], anthropic["type"]) == (408, "request_timeout", "error")
    assert openai["error"]["type"] == anthropic["error"]["type"] == "invalid_request_error"
