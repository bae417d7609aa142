"""Web processes as the doctor sees them."""

import http.server
import socketserver
import threading
import time

import pytest

from bridge.doctor import peers
from bridge.peers import report as reports
from bridge.peers.report import PeerReport
from bridge.peers.secret import peer_secret
from gateway_project.env import stored_secret
from gateway_project.lib.redis import redis_keys


@pytest.fixture
def found(installed, findings):
    """What is said of these processes, given what some of them have reported of where they listen."""

    def found(*reporting, listening=(), processes=2, **variables):
        state = installed(held=True, WEB_PROCESSES=str(processes), **variables)
        state.redis_answers = True
        for name in reporting:
            state.redis.set(redis_keys.MODES + name, "[]")
        for each in listening:
            state.redis.hset(redis_keys.PEERS, each.name, b"%d " % time.time() + reports.encode(each))
        return findings(peers.peers, state)

    return found


@pytest.fixture
def door(tmp_path):
    """`door(secret)`: the path of a socket that lets in who knows it."""
    servers = []

    def door(secret):
        class Handler(http.server.BaseHTTPRequestHandler):
            def address_string(self):
                return "a process"

            def log_message(self, *_):
                pass

            def do_GET(self):
                self.send_response(204 if self.headers["x-lingma-peer-secret"] == secret else 403)
                self.end_headers()

        server = socketserver.ThreadingUnixStreamServer(str(tmp_path / f"{len(servers)}.sock"), Handler)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        servers.append(server)
        return server.server_address

    yield door
    for server in servers:
        server.shutdown()
        server.server_close()


def listening(name, socket="", url="", node="here"):
    return PeerReport(name, "1", node, time.time(), socket, url)


def test_single_process_only_has_to_report(found):
    assert found("web-1", processes=1) == [("ok", "web-1 reports")]


def test_silent_process_fails(found):
    level, text = found(processes=1)[0]
    assert level == "fail"
    assert text.startswith("web-1 gives no sign of life See its log")


def test_unreachable_processes_are_told_from_the_others(found, door, tmp_path):
    secret = peer_secret("", stored_secret(tmp_path, "keys").encode())
    those = [
        listening("here/web-1", door(secret)),
        listening("here/web-2", str(tmp_path / "nobody.sock")),
        listening("here/web-3", door("another")),
    ]
    names = [each.name for each in those]
    first, second, third, fourth = found(*names, "here/web-4", listening=those, processes=4, NODE_NAME="here")
    assert first == ("ok", "here/web-1 reports, and others reach it")
    assert (second[0], third[0], fourth[0]) == ("fail",) * 3
    assert second[1].startswith("here/web-2 reports, but others cannot reach it: No such file")
    assert third[1].startswith("here/web-3 reports, but others cannot reach it: it has another PEER_SECRET")
    assert fourth[1].startswith("here/web-4 reports, but others cannot reach it: it does not say where")


def test_pepper_that_is_given_makes_no_file(found, door, tmp_path):
    """With a file that holds another one, the gateway would not start any more."""
    pepper = "the same on all machines"
    secret = peer_secret("", pepper.encode())
    told = found("here/web-1", listening=[listening("here/web-1", door(secret))], NODE_NAME="here", KEY_PEPPER=pepper)
    assert told[0] == ("ok", "here/web-1 reports, and others reach it")
    assert not (tmp_path / "secrets" / "keys").exists()


def test_processes_of_other_machines_are_looked_at(found, door):
    secret = "a secret of twenty letters"
    own = listening("here/web-1", door(secret))
    others = [listening("there/web-1", url="http://127.0.0.1:9", node="there"), listening("there/web-2", node="there")]
    told = found(
        "here/web-1", listening=[own, *others], processes=1, NODE_NAME="here", PEER_LISTEN="127.0.0.1:8400",
        PEER_SECRET=secret,
    )  # fmt: skip
    assert [level for level, _ in told] == ["ok", "fail", "fail"]
    assert told[1][1].startswith("there/web-1 reports, but others cannot reach it: Connection refused")
