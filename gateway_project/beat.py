"""Celery's scheduler over the database, which goes on with what it has read while the database is away."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from math import inf
from typing import Any, TypeVar

from celery import beat, bootsteps, signals
from celery.worker import state
from django.conf import settings
from django.core.exceptions import ObjectDoesNotExist
from django.db import Error, close_old_connections, connection
from django_celery_beat.schedulers import DatabaseScheduler, ModelEntry
from redis import RedisError

from gateway_project.lib import degraded
from gateway_project.lib.database import database_state as database
from gateway_project.lib.database.database_file import reopen
from gateway_project.lib.processes import life_signs
from gateway_project.lib.redis import redis_keys
from gateway_project.lib.redis.redis_client import connect
from gateway_project.lib.redis.redis_link import SKEW_SEC

logger = logging.getLogger(__name__)

T = TypeVar("T")

SIGN_SEC = 3.0
"""Between two signs of life."""
HUNG_SEC = 30.0
"""So long may a look at what is due take."""
STOP_SEC = 2.0


class Service(beat.Service):
    """As its parent, but the scheduler is ours without a search through all installed packages for another one."""

    schedule_filename: str

    def get_scheduler(self, lazy: bool = False, extension_namespace: str = "") -> ResilientScheduler:
        return ResilientScheduler(
            app=self.app, schedule_filename=self.schedule_filename, max_interval=self.max_interval, lazy=lazy
        )


class ThreadService(Service):
    """It ends while it waits, too: a thread gets no signal."""

    _is_shutdown: threading.Event

    def start(self, embedded_process: bool = False) -> None:
        signals.beat_init.send(sender=self)
        scheduler: Any = self.scheduler
        scheduler.process = degraded.WORKER
        while not self._is_shutdown.is_set():
            self._is_shutdown.wait(scheduler.tick() or 0.0)
            if scheduler.should_sync():
                scheduler._do_sync()  # as the parent's loop does
        self.sync()


class SchedulerThread(bootsteps.StartStopStep):
    """The scheduler as a thread of the worker, for one machine that has both: a process more would take memory."""

    requires = ("celery.worker.components:Timer",)

    def start(self, parent: Any) -> None:
        self._service = ThreadService(parent.app)
        self._thread = threading.Thread(target=self._run, name="scheduler", daemon=True)
        parent.scheduler_thread = self._service.scheduler
        self._thread.start()

    def stop(self, parent: Any) -> None:
        self._service.stop()
        self._thread.join(STOP_SEC)  # it may wait for a broker that does not answer

    def _run(self) -> None:
        try:
            self._service.start()
        except Exception:  # an edge: the worker is started again, and its scheduler with it
            logger.exception("the scheduler broke")
            state.should_stop = os.EX_SOFTWARE  # type: ignore[assignment]  # it begins as None


class SteadyEntry(ModelEntry):  # type: ignore[misc]  # it has no types
    """As its parent, but a run before the clock was set back was now: it would not run until that time comes again."""

    last_run_at: datetime

    def is_due(self) -> Any:
        now: datetime = self.default_now()
        if self.last_run_at > now + timedelta(seconds=SKEW_SEC):
            self.last_run_at = self.model.last_run_at = now
        return super().is_due()


class ResilientScheduler(DatabaseScheduler):  # type: ignore[misc]  # it has no types
    """As its parent, but a database that is away is logged once, ends nothing, and is tried once a second at most."""

    Entry = SteadyEntry
    process = degraded.BEAT
    """The name of the process that it is in."""
    _heap: list[Any] | None
    _initial_read: bool
    _last_timestamp: datetime | None

    _published_at = 0.0
    _ahead = -inf
    """By how much the clock is ahead of the one that nobody sets."""

    _seen_at = inf

    @property
    def hangs(self) -> bool:
        """Whether it has not come round for a long time."""
        return time.monotonic() - self._seen_at > HUNG_SEC

    def tick(self, *args: Any, **options: Any) -> Any:
        self._sign()
        if self._was_set_back():
            # What is next stands there by times that come again later, and so does when all of it is read anew.
            self._heap, self._initial_read = None, True
        pause = super().tick(*args, **options)
        if time.monotonic() - self._published_at > SIGN_SEC:
            self._published_at = time.monotonic()
            with suppress(RedisError), connect(settings.REDIS_URL) as client:
                degraded.publish(client, degraded.BEAT)
                client.set(redis_keys.SCHEDULER, self.process)
        return pause

    def _was_set_back(self) -> bool:
        before, self._ahead = self._ahead, time.time() - time.monotonic()
        return self._ahead < before - SKEW_SEC

    def all_as_schedule(self) -> dict[str, Any]:
        """What is enabled; when that cannot be read, what was read before."""
        found: dict[str, Any] | None = self._query(super().all_as_schedule)
        if found is None:
            self._initial_read = self._initial_read or not self._schedule  # then the next tick reads again
            return self._schedule or {}
        return found

    def schedule_changed(self) -> bool:
        # In a tuple, since None is a good answer too: nothing has changed yet. `_query` returns None for "not known".
        last_change = self._query(lambda: (self.Changes.last_change(),))
        if last_change is None:
            return False
        before, self._last_timestamp = self._last_timestamp, last_change[0]
        return bool(last_change[0] and last_change[0] > (before or last_change[0]))

    def sync(self) -> None:
        # One at a time and with signs of life: after an outage there may be many, and a full batch looks like a hang.
        while self._dirty and self._query(self._save_one):
            self._sign()

    def _sign(self) -> None:
        self._seen_at = time.monotonic()
        life_signs.alive()

    def _save_one(self) -> bool:
        name = next(iter(self._dirty))
        with suppress(KeyError, TypeError, ObjectDoesNotExist):  # it is not scheduled any more
            self._schedule[name].save()
        self._dirty.discard(name)
        return True

    def _query(self, query: Callable[[], T]) -> T | None:
        if database.away() and not database.may_try():
            return None
        try:
            if connection.vendor == "sqlite":
                # It stays open: to open it twice a second costs more than all that is asked of it.
                reopen(connection)
            else:
                # Django does so around requests only; a connection that died in an outage would fail for ever.
                close_old_connections()
            found = query()
        except Error as exc:
            connection.close()
            database.failed(exc)
            return None
        database.works()
        return found
