"""A Redis that hangs, is killed, or takes no writes: turns go on, rows are filed, Celery goes on, the log is short."""

import os
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing, contextmanager

import pytest

from tests.e2e.formats import ANTHROPIC, OPENAI, send
from tests.e2e.installation import KEY, LAUNCHER, METRICS_KEY, ROOT, Gateway, environment, until
from tests.environment import start_redis

CELERY = (sys.executable, "-m", "gateway_project.celery")


class WithCelery(Gateway):
    """A gateway, a worker and a scheduler that looks at the instances each second."""

    def __init__(self, data_dir, template):
        super().__init__(data_dir, template)
        self.told = Counter()
        self.query("update django_celery_beat_intervalschedule set every = 1")
        self.celery = [self.start_celery(part) for part in ("worker", "beat")]

    def __exit__(self, *problem):
        for process in self.celery:
            process.kill()
            process.wait()
        super().__exit__(*problem)

    def start_celery(self, part):
        with (self.data_dir / "celery.log").open("ab") as output:
            launcher = (*LAUNCHER, str(os.getpid()))
            return subprocess.Popen(
                [*launcher, *CELERY, part], cwd=ROOT, env=environment(self.data_dir), stdout=output, stderr=output
            )

    def query(self, query):
        with closing(sqlite3.connect(self.data_dir / "gateway.sqlite3", timeout=20)) as database, database:
            return [value for (value,) in database.execute(query)]

    def filed(self):
        return set(self.query("select request_id from accounts_usage"))

    def looked_at(self):
        """When a task that the scheduler sent was last run by the worker."""
        return self.query("select max(seen_at) from bridge_instance")[0]

    def available(self):
        lines = send(self, "GET", "/metrics", key=METRICS_KEY).body.decode().splitlines()
        return next(line for line in lines if line.startswith("lingma_gateway_redis_available ")).endswith(" 1.0")

    def troubles(self):
        """What was logged beside turns, and not told the last time."""
        lines = self.output().splitlines() + (self.data_dir / "celery.log").read_text().splitlines()
        fresh = Counter(line for line in lines if " INFO " not in line) - self.told
        self.told += fresh
        return list(fresh.elements())


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, template):
    with WithCelery(tmp_path_factory.mktemp("away"), template) as running:
        until(running.looked_at, 60)
        yield running


@contextmanager
def frozen(gateway):
    os.kill(gateway._redis.pid, signal.SIGSTOP)
    yield
    os.kill(gateway._redis.pid, signal.SIGCONT)


@contextmanager
def killed(gateway):
    gateway._redis.kill()
    gateway._redis.wait()
    yield
    gateway._redis = start_redis(gateway.data_dir)


@contextmanager
def full(gateway):
    with gateway.redis() as client:
        client.config_set("maxmemory", 1)
        yield
        client.config_set("maxmemory", 0)


@contextmanager
def replica(gateway):
    with gateway.redis() as client:
        client.replicaof("127.0.0.1", "1")
        yield
        client.replicaof("NO", "ONE")


def of_responses(gateway):
    body = {"model": "org_auto", "input": "[[sim: text=whole]] meanwhile", "store": True}
    answer = send(gateway, "POST", "/v1/responses", key=KEY, body=body)
    assert (answer.status, answer.json()["status"]) == (200, "completed")
    return answer


@pytest.mark.parametrize("harm", [frozen, killed, full, replica])
def test_turns_neither_fail_nor_vanish_without_redis(gateway, harm):
    until(gateway.available)
    gateway.troubles()
    asked = [gateway.ask(OPENAI, "[[sim: text=whole]] before")]
    with harm(gateway):
        for wire, stream in ((OPENAI, False), (OPENAI, True), (ANTHROPIC, True)):
            asked.append(gateway.ask(wire, "[[sim: text=whole]] meanwhile", stream=stream))
        stored = of_responses(gateway)
        until(lambda: not gateway.available())
    looked_at = gateway.looked_at()
    assert [(answer.status, answer.text) for answer in asked] == [(200, "whole")] * 4
    until(gateway.available)
    ids = {answer.headers["x-request-id"] for answer in (*asked, stored)}
    until(lambda: ids <= gateway.filed())
    until(lambda: gateway.looked_at() > looked_at)
    assert [process.poll() for process in gateway.celery] == [None, None]
    troubles = gateway.troubles()
    assert any("degraded: redis (" in line for line in troubles)
    assert len(troubles) <= 12, "\n".join(troubles)


def test_stored_response_is_unreadable_without_redis(gateway):
    until(gateway.available)
    id_ = of_responses(gateway).json()["id"]
    with killed(gateway):
        of_responses(gateway)
        path, again = f"/v1/responses/{id_}", {"model": "org_auto", "input": "after"}
        for method, where, body in (
            ("GET", path, None),
            ("DELETE", path, None),
            ("POST", "/v1/responses", {**again, "previous_response_id": id_}),
        ):
            told = send(gateway, method, where, key=KEY, body=body)
            assert (told.status, told.json()["error"]["code"]) == (503, "server_is_overloaded")
            assert int(told.headers["retry-after"]) <= 30
