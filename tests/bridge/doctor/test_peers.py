"""Web processes as the doctor sees them."""

import socket

import pytest

from bridge.doctor import peers
from gateway_project.lib import redis_keys
from gateway_project.lib.unix_sockets import socket_path


@pytest.fixture
def found(installed, findings):
    def found(*reporting, processes=2):
        state = installed(held=True, WEB_PROCESSES=str(processes))
        state.redis_answers = True
        for number in reporting:
            state.redis.set(f"{redis_keys.MODES}web-{number}", "[]")
        return findings(peers.peers, state)

    return found


def test_single_process_only_has_to_report(found):
    assert found(1, processes=1) == [("ok", "web-1 reports")]


def test_silent_process_fails(found):
    level, text = found(processes=1)[0]
    assert level == "fail"
    assert text.startswith("web-1 gives no sign of life See its log")


def test_unreachable_processes_are_told_from_the_others(found, tmp_path):
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(socket_path(tmp_path, "web-1")))
        listening.listen()
        first, second = found(1, 2)
    assert first == ("ok", "web-1 reports, and others reach it")
    assert second[0] == "fail"
    assert second[1].startswith("web-2 reports, but others cannot reach it: No such file")
