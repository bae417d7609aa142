"""The Celery application, and how its worker and scheduler start. Tasks live in each app's `tasks`."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pkgutil import iter_modules
from typing import Any

from celery import Celery, Task, bootsteps
from celery.signals import setup_logging, task_success, worker_ready
from django.conf import settings

from gateway_project.lib.processes import life_signs
from gateway_project.lib.prometheus_values import install_fast_values
from gateway_project.lib.redis import redis_keys
from gateway_project.lib.redis.lean_redis import redis
from gateway_project.lib.redis.redis_client import connect

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway_project.settings")

install_fast_values()


class UsageFlush(bootsteps.StartStopStep):
    """Usage is filed by a clock of the worker's own: through a Redis that is full, no task comes to it."""

    # With Celery's own `--beat` the scheduler is a fork of the worker: a lock that a thread holds then is never given
    # back there.
    requires = ("celery.worker.components:Beat",)

    def __init__(self, parent: Any, **options: Any) -> None:
        super().__init__(parent, **options)
        self._flusher: Any = None

    def start(self, parent: Any) -> None:
        from accounts.ledger.flusher import Flusher  # it needs the models, which are not ready when this module is read

        # Started before the worker connects: usage has to be filed also while the broker is away.
        self._flusher = Flusher(
            settings.REDIS_URL,
            settings.SPOOL_DIR,
            retention_days=settings.USAGE_RETENTION_DAYS,
            content_days=settings.CONTENT_RETENTION_DAYS,
        )
        self._flusher.start()

    def stop(self, parent: Any) -> None:
        if self._flusher is not None:
            self._flusher.stop()


class SignsOfLife(bootsteps.StartStopStep):
    """From the worker's own loop, so that one that hangs gives none; nor does one whose scheduler hangs."""

    requires = ("celery.worker.components:Timer",)

    def __init__(self, parent: Any, **options: Any) -> None:
        super().__init__(parent, **options)
        parent.scheduler_thread = None  # it may get one

    def start(self, parent: Any) -> None:
        life_signs.alive()
        parent.timer.call_repeatedly(life_signs.EVERY_SEC, self._sign, (parent,))

    def _sign(self, parent: Any) -> None:
        if parent.scheduler_thread is None or not parent.scheduler_thread.hangs:
            life_signs.alive()


class EndWhenIdle(bootsteps.StartStopStep):
    """Of the worker for log-ins: it is needed every few weeks, and takes memory all the time."""

    requires = ("celery.worker.components:Timer",)
    has_ended = False
    IDLE_SEC = 300.0
    LOOK_SEC = 10.0

    def start(self, parent: Any) -> None:
        self._worked_at = time.monotonic()
        parent.timer.call_repeatedly(self.LOOK_SEC, self._look)

    def _look(self) -> None:
        from celery.worker import state

        if state.reserved_requests or state.active_requests:
            self._worked_at = time.monotonic()
        elif time.monotonic() - self._worked_at > self.IDLE_SEC:
            EndWhenIdle.has_ended = True
            state.should_stop = os.EX_OK  # type: ignore[assignment]  # it begins as None


class RecordedTask(Task):  # type: ignore[type-arg]  # generic for checkers only
    """A task whose changes stand in the audit log under its name."""

    def __call__(self, *args: Any, **options: Any) -> Any:
        from accounts.audit.context import Source, acting  # it needs the models

        with acting(Source.SCHEDULE, str(self.name)):
            return super().__call__(*args, **options)


app = Celery("gateway_project", amqp="gateway_project.broker:Broker", task_cls=RecordedTask)
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
app.steps["worker"].add(UsageFlush)
app.steps["worker"].add(SignsOfLife)


@setup_logging.connect
def leave_logging_alone(**_: Any) -> None:
    """A receiver of this signal keeps Celery from configuring logging, which Django's settings have done."""
    from gateway_project.broker import log_broker_once

    log_broker_once()


@task_success.connect
def note_success(sender: Any, **_: Any) -> None:
    """For the doctor: beat only knows that a task was handed out."""
    with suppress(redis.RedisError), connect(settings.REDIS_URL) as client:
        client.hset(redis_keys.SCHEDULES, str(sender.name), int(time.time()))


@worker_ready.connect
def export_migrations(**_: Any) -> None:
    """Count the migrations for Prometheus: here, where no request waits for the database.

    By their names: the worker would keep some 5 MB of what they are made of.
    """
    from django.apps import apps
    from django.db import connection
    from django.db.migrations.recorder import MigrationRecorder
    from django_prometheus.migrations import applied_migrations, unapplied_migrations

    from gateway_project.lib.database import database_state as database

    there = {
        (each.label, name)
        for each in apps.get_app_configs()
        for _, name, _ in iter_modules([f"{each.path}/migrations"])
    }
    # A worker that starts while the database is away goes on without these figures.
    with database.doing_without():
        applied = MigrationRecorder(connection).applied_migrations().keys()
        applied_migrations.labels(connection.alias).set(len(applied))
        unapplied_migrations.labels(connection.alias).set(len(there - applied))
