"""The whole gateway as `make run` starts it: rows in the database, deaths, and a stop that leaves nothing."""

import json
import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
import redis

from tests.bridge.doctor.test_command import doctor
from tests.e2e.formats import FORMATS, OPENAI, Stream, send
from tests.e2e.installation import KEY, METRICS_KEY, until
from tests.e2e.whole import filed, start
from tests.gateway_project.gateway import survivors
from tests.processes import command_line


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return tmp_path_factory.mktemp("whole")


@pytest.fixture(scope="module")
def whole(directory, template):
    with start(directory, template) as running:
        running.complete()
        yield running


def ask(gateway, wire, prompt, *, headers=None, **more):
    return send(gateway, "POST", wire.path, key=KEY, body=wire.body(prompt, **more), headers=headers)


def test_doctor_finds_a_running_gateway_well(whole, directory):
    whole.until("w1-i1 is ready")
    code, output, errors = doctor(directory, "--json", PORT=str(whole.port))
    assert (code, errors) == (0, "")
    output = json.loads(output)["findings"]
    assert {each["topic"] for each in output if each["level"] == "ok"} >= {
        "settings", "data", "disk", "redis", "database", "keys", "ledger", "web", "instances", "worker", "scheduler",
    }  # fmt: skip
    assert [each["topic"] for each in output if each["level"] != "ok"] == ["lingma"]


def test_a_turn_becomes_one_row_of_the_database(whole, directory, wire, stream):
    agent = {"user-agent": "claude-cli/2.0.31 (external, cli)"}
    answer = ask(whole, wire, '[[sim: text=hello usage="12,3"]] x', stream=stream, headers=agent)
    rows = until(lambda: filed(directory, answer.headers["x-request-id"]))
    assert rows == [("ok", wire.name, "org_auto", 12, 3, "upstream", "claude-code")]


def test_row_survives_web_process_killed_after_last_byte(whole, directory, wire, stream):
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: ask(whole, wire, "[[sim: text=last]] x", stream=stream), range(8)))
    whole.descendant("gateway_project.server").kill()
    assert [answer.text for answer in answers] == ["last"] * 8
    for answer in answers:
        rows = until(lambda answer=answer: filed(directory, answer.headers["x-request-id"]))
        assert [row[0] for row in rows] == ["ok"]
    until(lambda: send(whole, "GET", "/readyz").status == 200)


def test_row_survives_a_killed_redis(whole, directory):
    whole.descendant("redis.sock").kill()
    answer = ask(whole, OPENAI, "[[sim: text=without]] x")
    assert (answer.status, answer.text) == (200, "without")
    assert until(lambda: filed(directory, answer.headers["x-request-id"]))
    with redis.Redis(unix_socket_path=str(directory / "redis.sock")) as client:
        assert until(client.ping)


def simulators(gateway):
    """Their pids."""
    return [each.pid for each in gateway.descendants() if "bridge.simulator" in " ".join(command_line(each))]


def test_a_killed_lingma_process_is_started_again(whole):
    lingma = whole.descendant("bridge.simulator")
    lingma.kill()
    # For a moment there is none, which one may miss.
    until(lambda: (found := simulators(whole)) and lingma.pid not in found)
    until(lambda: send(whole, "GET", "/readyz").status == 200)
    assert whole.descendant("bridge.simulator").pid != lingma.pid
    assert ask(whole, OPENAI, "[[sim: text=again]] x").text == "again"


def away(gateway):
    """The modes that /readyz tells; it stays 200."""
    answer = send(gateway, "GET", "/readyz")
    return answer.status, {each["name"] for each in answer.json()["degraded"]}


def metrics(gateway):
    return send(gateway, "GET", "/metrics", key=METRICS_KEY).body.decode()


@pytest.mark.timeout(200)
def test_frozen_worker_and_scheduler_are_reported_and_harmless(whole, directory):
    background = whole.descendant("celery", "worker", "--beat")
    signs = ["lgw:modes:worker", "lgw:modes:beat"]
    with redis.Redis(unix_socket_path=str(directory / "redis.sock")) as client:
        until(lambda: client.exists(*signs) == 2, 60)
        background.suspend()
        until(lambda: client.delete(*signs) + 1 and away(whole) == (200, {"worker"}), 90, every=0.5)
    assert ask(whole, OPENAI, "[[sim: text=anyway]] x").text == "anyway"
    assert until(lambda: 'lingma_gateway_degraded{mode="worker"} 1.0' in metrics(whole))  # at the next heartbeat
    assert 'lingma_gateway_degraded{mode="redis"} 0.0' in metrics(whole)
    background.resume()
    until(lambda: away(whole) == (200, set()), 60)
    whole.until("well again: worker")
    assert sum("degraded: worker" in line for line in whole.lines) == 1


def test_sigterm_lets_running_streams_end_and_leaves_nothing(tmp_path, template):
    prompt = '[[sim: text="one two three" chunks=3 delay_ms=700]] x'
    with start(tmp_path, template) as gateway:
        processes = gateway.complete()
        with ExitStack() as stack:
            streams = [(each, stack.enter_context(Stream(gateway, each, prompt, key=KEY))) for each in FORMATS]
            for _, running in streams:
                running.until(b"one ")
            gateway.process.send_signal(signal.SIGTERM)
            gateway.until("stopping")
            for wire, running in streams:
                answer = running.rest()
                assert (answer.text, answer.finish, answer.error) == ("two three", wire.done, None)
        assert gateway.ended() == (0, "")
        assert survivors(processes) == []
        for _, running in streams:
            assert kept(tmp_path, running.request_id)


def kept(directory, request_id):
    """Whether the row of a turn is in the database, or in Redis' own file for the next start to file."""
    files = (directory / "redis").rglob("*.aof")
    return filed(directory, request_id) or any(request_id.encode() in path.read_bytes() for path in files)


def test_endless_stream_is_cut_in_the_end(tmp_path, template):
    with start(tmp_path, template, DRAIN_SEC="1") as gateway:
        processes = gateway.complete()
        with Stream(gateway, OPENAI, '[[sim: text="one two" chunks=2 delay_ms=60000]] x', key=KEY) as running:
            running.until(b"one")
            gateway.process.send_signal(signal.SIGTERM)
            code, said = gateway.ended()
        assert (code, said) == (0, "")
        assert survivors(processes) == []


def test_kill_9_of_supervisor_mid_stream_leaves_nothing(whole):
    """The last one: it ends what the others share."""
    processes = whole.descendants()
    assert any("bridge.simulator" in " ".join(command_line(each)) for each in processes)
    with Stream(whole, OPENAI, '[[sim: text="one two" chunks=2 delay_ms=60000]] x', key=KEY) as running:
        running.until(b"one")
        whole.process.kill()
        assert survivors(processes) == []
