"""Worker and beat as real processes, on an installation of their own."""

import os
import select
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, suppress

import msgspec
import pytest
import redis
from celery.signals import after_task_publish, task_received

from bridge.status.instance import InstanceStatus
from gateway_project.celery import app, export_migrations
from gateway_project.lib import degraded
from tests.environment import start_redis

FACTS = InstanceStatus(
    "w1-i1", 1, 99, 1, "ready", True, 0, 8, 0, "", "2.5", "simulator", 6, time.time(), time.time()
)  # fmt: skip


@pytest.fixture
def installation(data_dir):
    """Its environment: an empty database with all tables, and a Redis with one heartbeat."""
    server = start_redis(data_dir)
    with redis.Redis(unix_socket_path=str(data_dir / "redis.sock")) as client:
        client.set("lgw:instance:w1-i1", msgspec.json.encode(FACTS))
    yield (
        os.environ
        | {"DATA_DIR": str(data_dir), "DJANGO_SETTINGS_MODULE": "gateway_project.settings"}
        | {"LOG_LEVEL": "INFO"}
    )
    server.terminate()
    server.wait()


@pytest.fixture
def celery(installation):
    argv = [sys.executable, "-m", "celery", "-A", "gateway_project", "worker", "--beat", "--pool=threads"]
    schedule = ["--concurrency=2", "--without-mingle", "--without-gossip"]
    worker = subprocess.Popen(
        [*argv, *schedule], env=installation, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    yield worker
    with suppress(ProcessLookupError):
        os.killpg(worker.pid, signal.SIGKILL)  # beat is a child of the worker and has its pipe
    worker.communicate()


@pytest.mark.e2e
def test_heartbeat_shows_instance_to_beat_and_worker(celery, data_dir):
    assert any("instance changed instance=w1-i1" in line for line in celery.stderr)
    with closing(sqlite3.connect(data_dir / "gateway.sqlite3")) as database:
        rows = database.execute("select name, state from bridge_instance").fetchall()
    assert rows == [("w1-i1", "ready")]
    celery.send_signal(signal.SIGTERM)
    assert celery.wait(timeout=30) == 0


WITH_SCHEDULER = """
import django, sys, threading
django.setup()
from gateway_project import beat
from gateway_project.celery import __main__ as celery

def hang(self, *args, **options):
    self._sign()
    threading.Event().wait()

def break_down(self, *args, **options):
    raise ValueError("no such day")

beat.HUNG_SEC = 1.0
beat.ResilientScheduler.tick = {"hangs": hang, "breaks": break_down}[sys.argv[1]]
sys.argv[1:] = ["worker", "--beat"]
celery.main()
"""


def with_scheduler(installation, trouble, pipe):
    """A worker whose scheduler has this trouble, with a supervisor's pipe."""
    environment = installation | {"GATEWAY_LIFE_FD": str(pipe)}
    command = [sys.executable, "-c", WITH_SCHEDULER, trouble]
    return subprocess.Popen(command, env=environment, pass_fds=[pipe], stderr=subprocess.PIPE, text=True)


@pytest.mark.e2e
def test_worker_whose_scheduler_hangs_gives_no_sign(installation):
    mine, theirs = os.pipe()
    with os.fdopen(mine, "rb", 0) as signs, with_scheduler(installation, "hangs", theirs) as worker:
        os.close(theirs)
        try:
            assert signs.read(1) == b"."
            while select.select([signs], [], [], 5)[0]:
                assert signs.read(1) == b"."
            assert worker.poll() is None
        finally:
            worker.kill()


@pytest.mark.e2e
def test_worker_whose_scheduler_breaks_ends(installation):
    mine, theirs = os.pipe()
    with os.fdopen(mine, "rb"), with_scheduler(installation, "breaks", theirs) as worker:
        os.close(theirs)
        assert "ValueError: no such day" in worker.communicate(timeout=60)[1]
    assert worker.returncode == os.EX_SOFTWARE


def test_every_scheduled_task_exists():
    from bridge.schedules import SCHEDULES

    app.loader.import_default_modules()
    assert {each.task for each in SCHEDULES} <= set(app.tasks)


def test_waiting_periodic_task_expires_before_redelivery():
    from bridge.schedules import SCHEDULES

    handed_out_again = app.conf.broker_transport_options["visibility_timeout"]
    assert app.conf.task_time_limit < handed_out_again
    assert all(each.expires <= handed_out_again for each in SCHEDULES)


@pytest.mark.parametrize("way", [task_received, after_task_publish])
def test_a_task_that_comes_through_ends_the_mode(way):
    app.amqp  # noqa: B018 - Celery's processes load the broker so, and it listens
    degraded.begin("tasks", "Redis BRPOP got no reply for 12 seconds; dropping stale connection")
    way.send(sender=None)
    assert degraded.active() == []


@pytest.mark.django_db
def test_migrations_are_counted_without_being_loaded():
    from django.db import connection
    from django.db.migrations.executor import MigrationExecutor
    from django.db.migrations.recorder import MigrationRecorder
    from django_prometheus.migrations import applied_migrations, unapplied_migrations

    recorder = MigrationRecorder(connection)
    recorder.record_unapplied("bridge", max(name for app, name in recorder.applied_migrations() if app == "bridge"))
    export_migrations()
    executor = MigrationExecutor(connection)
    left = executor.migration_plan(executor.loader.graph.leaf_nodes())
    assert len(left) == 1
    assert unapplied_migrations.labels("default")._value.get() == len(left)
    assert applied_migrations.labels("default")._value.get() == len(executor.loader.applied_migrations)
