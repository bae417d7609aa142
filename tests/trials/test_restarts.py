"""Parts of a whole gateway that are killed, that are deaf, or that hold turns while it is stopped."""

import json
import signal
import sqlite3
import urllib.request
from contextlib import closing

import pytest
import redis

from tests.directories import copy
from tests.gateway_project.gateway import Gateway, survivors
from tests.gateway_project.test_supervise import answers
from tests.gateway_project.test_supervise_refusals import refusal
from tests.processes import command_line


def stream_of(gateway, prompt):
    """A turn of the first key, streamed."""
    key = gateway.until(r"API key +(lgw_\S+)")[1]
    gateway.until("w1-i1 is ready")
    turn = {"role": "user", "content": prompt}
    body = json.dumps({"model": "org_auto", "stream": True, "messages": [turn]}).encode()
    url = f"http://127.0.0.1:{gateway.port}/v1/chat/completions"
    request = urllib.request.Request(url, body, {"Authorization": f"Bearer {key}"})
    return urllib.request.urlopen(request, timeout=30)


def booked(data_dir, request_id):
    """Whether a turn has a row: in the database, or in what Redis has written to its file."""
    kept = (data_dir / "redis" / "appendonlydir").glob("*")
    waits = any(request_id.encode() in path.read_bytes() for path in kept)
    with closing(sqlite3.connect(data_dir / "gateway.sqlite3")) as database:
        found = database.execute("select 1 from accounts_usage where request_id = ?", [request_id])
        return waits or found.fetchone() is not None


@pytest.fixture(scope="module")
def lone(tmp_path_factory, migrated):
    """One web process; the last test ends it."""
    directory = copy(migrated, tmp_path_factory.mktemp("lone"))
    with Gateway(directory, DRAIN_SEC="600") as gateway:
        gateway.complete()
        yield directory, gateway


def test_killed_children_are_restarted_without_loss(lone):
    data_dir, gateway = lone
    for count in (1, 2, 3):
        gateway.descendant("gateway_project.server").kill()
        gateway.until(r"web-1 was killed by SIGKILL; starting it again$", count)  # at once: it had served
        assert answers(gateway) == 200  # the socket stayed open: the request waited
    gateway.descendant("celery", "worker").kill()
    gateway.until(r"^worker .* ready", count=2)
    assert_redis_keeps_rows_over_kill_9(gateway, data_dir)


def assert_redis_keeps_rows_over_kill_9(gateway, data_dir):
    with redis.Redis(unix_socket_path=str(data_dir / "redis.sock")) as client:
        client.xadd("test:rows", {"row": "1"})
        gateway.descendant("redis.sock").kill()
        gateway.until("redis was killed by SIGKILL")
        client.retry = redis.retry.Retry(redis.backoff.ConstantBackoff(0.1), 400)
        client.retry.update_supported_errors([redis.ConnectionError])
        assert client.xlen("test:rows") == 1


def test_second_signal_ends_turns_and_books_them(lone):
    data_dir, gateway = lone
    assert_signals_end_and_book(gateway, data_dir, signal.SIGTERM, signal.SIGINT)


def assert_signals_end_and_book(gateway, data_dir, *signals):
    with stream_of(gateway, "[[sim: chunks=9000 delay_ms=100]]") as stream:
        assert stream.readline().startswith(b"data: ")
        processes = gateway.descendants()
        for count, number in enumerate(signals, 1):
            gateway.process.send_signal(number)
            gateway.until("stopping", count=count)
        told = stream.read()
    assert b"shutting down" in told
    assert b"[DONE]" not in told
    assert gateway.ended() == (0, "")
    assert survivors(processes) == []
    assert booked(data_dir, stream.headers["x-request-id"])


def test_sigquit_ends_turns_of_daphne_and_books_them(data_dir):
    with Gateway(data_dir, GATEWAY_SERVER="daphne", DRAIN_SEC="600") as gateway:
        assert_signals_end_and_book(gateway, data_dir, signal.SIGQUIT)


@pytest.fixture(scope="module")
def twins(tmp_path_factory, migrated):
    """Two web processes; the last test ends them."""
    directory = copy(migrated, tmp_path_factory.mktemp("twins"))
    with Gateway(directory, WEB_PROCESSES="2", DRAIN_SEC="600") as gateway:
        gateway.complete()
        yield directory, gateway


def test_a_data_directory_in_use(twins):
    data_dir, _ = twins
    counts = sorted((data_dir / "metrics").iterdir())
    assert counts
    assert f"another gateway is running on {data_dir}" in refusal(data_dir)
    assert set(counts) <= set((data_dir / "metrics").iterdir())


def test_two_web_processes_share_the_socket(twins):
    _, gateway = twins
    servers = [one for one in gateway.descendants() if "gateway_project.server" in command_line(one)]
    assert {one.environ()["WEB_PROCESS"] for one in servers} == {"1", "2"}
    number, killed = servers[0].environ()["WEB_PROCESS"], [servers[0], *servers[0].children()]
    gateway.until(f"w{number}-i1 is ready")
    servers[0].kill()
    assert answers(gateway) == 200
    gateway.until(f"w{number}-i1 is ready", count=2)
    assert survivors(killed) == []


def test_second_signal_waits_for_no_deaf_process(twins):
    _, gateway = twins
    processes = gateway.descendants()
    for process in processes:
        process.suspend()  # deaf to SIGTERM
    gateway.process.send_signal(signal.SIGTERM)
    gateway.until("stopping")
    gateway.process.send_signal(signal.SIGTERM)
    assert gateway.ended()[0] == 0
    assert survivors(processes) == []
