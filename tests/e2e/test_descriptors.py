"""A web process whose descriptors are all taken."""

import socket
from contextlib import suppress

import psutil
import pytest

from tests.e2e.formats import OPENAI, send
from tests.e2e.installation import until


def answers(gateway, path):
    """The status, or none where nobody answers."""
    with suppress(OSError):
        return send(gateway, "GET", path).status


def asked(gateway):
    """A reply, or none: a connection whose request has not come yet may be the one that makes room."""
    with suppress(OSError):
        return gateway.ask(OPENAI, "[[sim: text=hello]] x").text


@pytest.fixture
def silent(gateway):
    """Connections that say nothing."""
    opened = []
    yield lambda count: opened.extend(socket.create_connection(("127.0.0.1", gateway.port)) for _ in range(count))
    for each in opened:
        each.close()


@pytest.fixture
def exhausted(gateway, silent):
    """The process may have the descriptors it has, and not one more. Call it to give them back."""
    process = psutil.Process(gateway.processes[0].pid)
    limits = process.rlimit(psutil.RLIMIT_NOFILE)
    silent(60)
    until(lambda: answers(gateway, "/healthz") == 200)
    process.rlimit(psutil.RLIMIT_NOFILE, (process.num_fds(), limits[1]))
    silent(60)
    yield process
    process.rlimit(psutil.RLIMIT_NOFILE, limits)


def test_idle_connections_make_room_for_an_instance(gateway, exhausted):
    before, lingma = gateway.output(), gateway.lingma()
    lingma.kill()
    lingma.wait()
    spent = sum(exhausted.cpu_times()[:2])
    # Asked now and then: each question costs the process something, too.
    until(lambda: answers(gateway, "/healthz") == 200, every=0.2)
    until(lambda: answers(gateway, "/readyz") == 200, every=0.2)
    assert until(lambda: asked(gateway), every=0.2) == "hello"
    assert sum(exhausted.cpu_times()[:2]) - spent < 3  # accepting without a descriptor does not turn in circles
    lines = [line for line in gateway.output()[len(before) :].splitlines() if " bridge.turn: " not in line]
    assert len(lines) < 20
