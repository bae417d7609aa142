"""Redis, ledger, web processes, Celery."""

import contextlib
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer

import msgspec
import pytest
from django_celery_beat.models import PeriodicTask

from accounts.ledger.spool import REJECTED, SPOOL, append
from bridge.doctor import services
from gateway_project.lib import redis_fitness
from gateway_project.lib.redis_keys import USAGE as STREAM
from tests.gateway_project.gateway import free_port


def test_redis_version_and_persistence_are_shown(patient, told):
    examined = patient()
    texts = [text for level, text in told(services.store, examined) if level == "ok"]
    assert texts[0].startswith("Valkey ")
    assert texts[1] == "maxmemory-policy is noeviction: usage rows are kept"
    assert examined.redis_answers


@pytest.mark.parametrize(("most", "level"), [(0, "warn"), (1 << 30, "fail")])
def test_evicting_redis_is_reported(patient, told, most, level):
    examined = patient()
    examined.redis.config_set("maxmemory-policy", "allkeys-lru")
    examined.redis.config_set("maxmemory", most)
    try:
        assert told(services.store, examined)[1][0] == level
    finally:
        examined.redis.config_set("maxmemory-policy", "noeviction")
        examined.redis.config_set("maxmemory", 0)


@pytest.mark.parametrize(
    ("url", "held", "level"),
    [("redis://127.0.0.1:1", False, "fail"), ("", True, "fail"), ("", False, "warn")],
    ids=["external", "embedded, running", "embedded, stopped"],
)
def test_a_redis_that_does_not_answer(patient, told, url, held, level):
    examined = patient(redis_url=url or "unix:///nowhere/redis.sock", held=held, REDIS_URL=url)
    assert [each for each, _ in told(services.store, examined)] == [level]


def test_heartbeats_are_read(patient, told, facts):
    examined = patient()
    examined.redis.set("lgw:instance:w1-i1", msgspec.json.encode(facts()))
    told(services.store, examined)
    assert [each.name for each in examined.heartbeats] == ["w1-i1"]
    assert examined.running


def test_rows_waiting_in_redis_and_spool_are_counted(patient, told, tmp_path):
    examined = patient()
    examined.redis_answers = True
    examined.redis.xadd(STREAM, {"row": "{}"})
    append(tmp_path / "spool", [b"{}"], SPOOL)
    assert told(services.ledger, examined) == [("ok", "2 usage rows wait to be filed")]


@pytest.mark.parametrize(("held", "level"), [(True, "fail"), (False, "ok")])
def test_long_waiting_rows_are_trouble_while_running(patient, told, held, level):
    examined = patient(held=held)
    examined.redis_answers = True
    examined.redis.xadd(STREAM, {"row": "{}"}, id=f"{int((examined.now - 300) * 1000)}-0")
    assert told(services.ledger, examined)[0][0] == level


def test_set_aside_rows_are_reported(patient, told, tmp_path):
    append(tmp_path / "spool", [b"broken"], REJECTED)
    assert told(services.ledger, patient())[1][0] == "warn"


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
def test_what_answers_at_the_address(patient, told, answering, status, level):
    assert told(services.web, patient(PORT=answering(status)))[0][0] == level


def test_parts_reported_away_are_shown(patient, told, answering):
    mode = {"name": "database", "since": "2026-11-28T12:56:34+00:00", "still_works": "known keys go on"}
    port = answering(200, msgspec.json.encode({"status": "ready", "degraded": [mode], "instances": []}))
    _, (level, text) = told(services.web, patient(PORT=port))
    assert level == "warn"
    assert "database is away since 2026-11-28T12:56:34+00:00; known keys go on" in text


@pytest.mark.parametrize(("held", "level"), [(True, "fail"), (False, "warn")])
def test_no_answer_at_the_address(patient, told, held, level):
    assert told(services.web, patient(held=held, PORT=str(free_port())))[0][0] == level


def background(patient, told, monkeypatch, **changes):
    monkeypatch.setattr(services, "WAIT_SEC", 0.1)
    examined = patient(held=True)
    examined.redis_answers = examined.database_answers = True
    for name, value in changes.items():
        setattr(examined, name, value)
    return dict(told(services.background, examined))


@pytest.mark.django_db
def test_silent_worker_fails_and_fresh_scheduler_does_not(patient, told, monkeypatch):
    assert list(background(patient, told, monkeypatch)) == ["fail", "ok"]


@pytest.mark.django_db
@pytest.mark.parametrize(("minutes", "found"), [(10, "10 min"), (1, "ok")])
def test_a_scheduler_that_rests_for_long_fails(patient, told, monkeypatch, minutes, found):
    now = datetime.now(UTC)
    PeriodicTask.objects.update(last_run_at=now - timedelta(minutes=minutes))
    levels = background(patient, told, monkeypatch, started_at=now.timestamp() - 3600)
    assert ("ok" in levels) == (found == "ok")


def test_a_stopped_gateway_has_no_background(patient, told):
    assert told(services.background, patient()) == []


@pytest.fixture
def changed(patient):
    """A patient whose Redis has these settings for as long as the test lasts."""
    examined = patient()
    with contextlib.ExitStack() as undone:

        def changed(**settings):
            for name, value in settings.items():
                before = examined.redis.config_get(name)[name]
                examined.redis.config_set(name, value)
                undone.callback(examined.redis.config_set, name, before)
            return examined

        yield changed


def test_full_redis_is_reported_with_advice(changed, told):
    found = told(services.store, changed(maxmemory=1))
    (text,) = [text for level, text in found if level == "fail"]
    assert text.startswith("it is full: ")
    assert text.endswith(redis_fitness.ROOM)


def test_worker_is_not_asked_through_unwritable_redis(changed, told):
    examined = changed(maxmemory=1)
    told(services.store, examined)
    examined.started_at = examined.now
    assert told(services.background, examined)[0] == (
        "warn", "it cannot be asked: Redis takes no writes See redis above."
    )  # fmt: skip


def test_replica_is_reported_with_advice(patient, told):
    examined = patient()
    examined.redis.replicaof("127.0.0.1", "1")
    try:
        assert ("fail", "it is a read-only replica Name the primary.") in told(services.store, examined)
    finally:
        examined.redis.replicaof("NO", "ONE")


def test_redis_evicting_only_expiring_keys_is_fine(changed, told):
    found = told(services.store, changed(**{"maxmemory-policy": "volatile-lru", "maxmemory": 1 << 30}))
    assert [level for level, _ in found if level == "fail"] == []
