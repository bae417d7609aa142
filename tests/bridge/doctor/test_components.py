"""Redis, ledger, web processes, Celery."""

import contextlib
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer

import msgspec
import pytest
from django_celery_beat.models import PeriodicTask

from accounts.ledger.spool import REJECTED, SPOOL, append
from bridge.doctor import components
from gateway_project.lib.redis import redis_fitness
from gateway_project.lib.redis.redis_keys import USAGE as STREAM
from tests.ports import free_port


def test_redis_version_and_persistence_are_shown(installed, findings):
    state = installed()
    texts = [text for level, text in findings(components.store, state) if level == "ok"]
    assert texts[0].startswith("Valkey ")
    assert texts[1] == "maxmemory-policy is noeviction: usage rows are kept"
    assert state.redis_answers


@pytest.mark.parametrize(("most", "level"), [(0, "warn"), (1 << 30, "fail")])
def test_evicting_redis_is_reported(installed, findings, most, level):
    state = installed()
    state.redis.config_set("maxmemory-policy", "allkeys-lru")
    state.redis.config_set("maxmemory", most)
    try:
        assert findings(components.store, state)[1][0] == level
    finally:
        state.redis.config_set("maxmemory-policy", "noeviction")
        state.redis.config_set("maxmemory", 0)


@pytest.mark.parametrize(
    ("url", "held", "level"),
    [("redis://127.0.0.1:1", False, "fail"), ("", True, "fail"), ("", False, "warn")],
    ids=["external", "embedded, running", "embedded, stopped"],
)
def test_a_redis_that_does_not_answer(installed, findings, url, held, level):
    state = installed(redis_url=url or "unix:///nowhere/redis.sock", held=held, REDIS_URL=url)
    assert [each for each, _ in findings(components.store, state)] == [level]


def test_heartbeats_are_read(installed, findings, status):
    state = installed()
    state.redis.set("lgw:instance:w1-i1", msgspec.json.encode(status()))
    findings(components.store, state)
    assert [each.name for each in state.heartbeats] == ["w1-i1"]
    assert state.running


def test_rows_waiting_in_redis_and_spool_are_counted(installed, findings, tmp_path):
    state = installed()
    state.redis_answers = True
    state.redis.xadd(STREAM, {"row": "{}"})
    append(tmp_path / "spool", [b"{}"], SPOOL)
    assert findings(components.ledger, state) == [("ok", "2 usage rows wait to be filed")]


@pytest.mark.parametrize(("held", "level"), [(True, "fail"), (False, "ok")])
def test_long_waiting_rows_are_trouble_while_running(installed, findings, held, level):
    state = installed(held=held)
    state.redis_answers = True
    state.redis.xadd(STREAM, {"row": "{}"}, id=f"{int((state.now - 300) * 1000)}-0")
    assert findings(components.ledger, state)[0][0] == level


def test_set_aside_rows_are_reported(installed, findings, tmp_path):
    append(tmp_path / "spool", [b"broken"], REJECTED)
    assert findings(components.ledger, installed())[1][0] == "warn"


@pytest.fixture
def answering():
    """A server that answers everything with one status; its port."""
    servers = []

    def answering(status, body=b""):
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(status)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        servers.append(HTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=servers[-1].serve_forever, args=(0.01,), daemon=True).start()
        return str(servers[-1].server_port)

    yield answering
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(("status", "level"), [(200, "ok"), (503, "fail"), (404, "fail")])
def test_answer_at_the_address_decides_the_level(installed, findings, answering, status, level):
    assert findings(components.web, installed(PORT=answering(status)))[0][0] == level


def test_parts_reported_away_are_shown(installed, findings, answering):
    mode = {"name": "database", "since": "2026-11-28T12:56:34+00:00", "still_works": "known keys go on"}
    port = answering(200, msgspec.json.encode({"status": "ready", "degraded": [mode], "instances": []}))
    _, (level, text) = findings(components.web, installed(PORT=port))
    assert level == "warn"
    assert "database is away since 2026-11-28 12:56:34 UTC; known keys go on" in text


@pytest.mark.parametrize(("held", "level"), [(True, "fail"), (False, "warn")])
def test_silent_address_is_a_failure_while_held(installed, findings, held, level):
    assert findings(components.web, installed(held=held, PORT=str(free_port())))[0][0] == level


def background(installed, findings, monkeypatch, **changes):
    monkeypatch.setattr(components, "WAIT_SEC", 0.1)
    state = installed(held=True)
    state.redis_answers = state.database_answers = True
    for name, value in changes.items():
        setattr(state, name, value)
    return dict(findings(components.background, state))


@pytest.mark.django_db
def test_silent_worker_fails_and_fresh_scheduler_does_not(installed, findings, monkeypatch):
    assert list(background(installed, findings, monkeypatch)) == ["fail", "ok"]


@pytest.mark.django_db
def test_silent_worker_with_its_scheduler_fails_once(installed, findings, monkeypatch):
    client = installed().redis
    client.set("lgw:scheduler", "worker")
    assert list(background(installed, findings, monkeypatch)) == ["fail"]


@pytest.mark.django_db
@pytest.mark.parametrize(("minutes", "found"), [(10, "10 min"), (1, "ok")])
def test_a_scheduler_that_rests_for_long_fails(installed, findings, monkeypatch, minutes, found):
    now = datetime.now(UTC)
    PeriodicTask.objects.update(last_run_at=now - timedelta(minutes=minutes))
    levels = background(installed, findings, monkeypatch, started_at=now.timestamp() - 3600)
    assert ("ok" in levels) == (found == "ok")


def test_a_stopped_gateway_has_no_background(installed, findings):
    assert findings(components.background, installed()) == []


@pytest.fixture
def changed(installed):
    """A patient whose Redis has these settings for as long as the test lasts."""
    state = installed()
    with contextlib.ExitStack() as undone:

        def changed(**settings):
            for name, value in settings.items():
                before = state.redis.config_get(name)[name]
                state.redis.config_set(name, value)
                undone.callback(state.redis.config_set, name, before)
            return state

        yield changed


def test_full_redis_is_reported_with_advice(changed, findings):
    found = findings(components.store, changed(maxmemory=1))
    (text,) = [text for level, text in found if level == "fail"]
    assert text.startswith("it is full: ")
    assert text.endswith(redis_fitness.ROOM)


def test_worker_is_not_asked_through_unwritable_redis(changed, findings):
    state = changed(maxmemory=1)
    findings(components.store, state)
    state.started_at = state.now
    assert findings(components.background, state)[0] == (
        "warn", "it cannot be asked: Redis takes no writes See what is said of Redis."
    )  # fmt: skip


def test_replica_is_reported_with_advice(installed, findings):
    state = installed()
    state.redis.replicaof("127.0.0.1", "1")
    try:
        assert ("fail", "it is a read-only replica Name the primary.") in findings(components.store, state)
    finally:
        state.redis.replicaof("NO", "ONE")


def test_redis_evicting_only_expiring_keys_is_fine(changed, findings):
    found = findings(components.store, changed(**{"maxmemory-policy": "volatile-lru", "maxmemory": 1 << 30}))
    assert [level for level, _ in found if level == "fail"] == []
