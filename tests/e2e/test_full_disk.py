"""A web process whose disk takes nothing, with a Redis that is full too: a limit on the size of files stands for it."""

import psutil
import pytest

from tests.e2e.formats import OPENAI, send
from tests.e2e.installation import METRICS_KEY, until


@pytest.fixture
def full(gateway):
    """Neither the disk nor Redis takes anything; call it for there to be room again."""
    process = psutil.Process(gateway.processes[0].pid)
    limits = process.rlimit(psutil.RLIMIT_FSIZE)
    gateway.ask(OPENAI, "to be known")
    send(gateway, "GET", "/metrics", key=METRICS_KEY)
    with gateway.redis() as client:

        def make_room(*, disk=True):
            client.config_set("maxmemory", "0")
            if disk:
                process.rlimit(psutil.RLIMIT_FSIZE, limits)

        client.config_set("maxmemory", "1")
        process.rlimit(psutil.RLIMIT_FSIZE, (0, limits[1]))
        yield make_room
        make_room()


def test_turns_need_no_disk_and_rows_follow(gateway, full, wire, stream):
    served = [gateway.ask(wire, f"full disk {number}", stream=stream) for number in range(5)]
    page = send(gateway, "GET", "/metrics", key=METRICS_KEY)
    full()
    assert {answer.status for answer in served} == {200}
    assert page.status == 200
    ids = {answer.headers["x-request-id"] for answer in served}
    until(lambda: ids <= set(gateway.rows()))
    until(lambda: "well again: disk" in gateway.output())


def test_full_disk_is_reported_once(gateway, full, wire):
    before = gateway.output()
    for number in range(30):
        assert gateway.ask(wire, f"quiet {number}").status == 200
    full()
    until(lambda: "well again: disk" in gateway.output()[len(before) :])
    lines = [line for line in gateway.output()[len(before) :].splitlines() if " bridge.turn: " not in line]
    assert len(lines) < 15


def test_rows_in_memory_go_to_returning_redis_first(gateway, full, wire):
    answers = [gateway.ask(wire, f"in memory {number}") for number in range(5)]
    full(disk=False)
    ids = {answer.headers["x-request-id"] for answer in answers}
    until(lambda: ids <= set(gateway.rows()))
    assert {answer.status for answer in answers} == {200}
