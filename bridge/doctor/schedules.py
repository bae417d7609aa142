"""Celery's schedules: when each last did what it is for."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

from django.utils.translation import gettext
from django_celery_beat.models import PeriodicTask

from bridge.doctor.finding import Finding, fail, ok, warn
from bridge.doctor.installation_state import InstallationState
from bridge.schedules import shown_name
from gateway_project.lib.redis import redis_keys

TOPIC: Final = "schedules"
LATE_SEC: Final = 300.0
"""So long a task may wait and run, and the database not know that it was handed out."""


def schedules(state: InstallationState) -> Iterator[Finding]:
    """One line for each: its last success, as the worker has written it down."""
    if not (state.running and state.redis_answers and state.database_answers):
        return
    found: Any = state.redis.hgetall(redis_keys.SCHEDULES)
    succeeded = {name.decode(): float(at) for name, at in found.items()}
    # Moments and suns have no pace to be held against.
    rows = PeriodicTask.objects.filter(one_off=False, clocked=None, solar=None)
    for task in rows.select_related("interval", "crontab").order_by("name"):
        yield _schedule(state, task, succeeded.get(task.task, 0.0))


def _schedule(state: InstallationState, task: PeriodicTask, succeeded: float) -> Finding:
    advice = gettext("Search the log of the worker for %(task)s.") % {"task": task.task}
    about = {"name": shown_name(task.name)}
    if not task.enabled:
        return ok(TOPIC, gettext("%(name)s is switched off") % about)
    if not succeeded:
        return _never(state, task, advice)
    about |= {"time": _span(state.now - succeeded)}
    # Switched on of late, it has not been handed out since.
    if task.last_run_at is not None and _late(task, succeeded) > LATE_SEC and _settled(state):
        return fail(TOPIC, gettext("%(name)s is late: its last success was %(time)s ago") % about, advice)
    return ok(TOPIC, gettext("%(name)s: its last success was %(time)s ago") % about)


def _never(state: InstallationState, task: PeriodicTask, advice: str) -> Finding:
    """Nothing is written down; a run that this gateway has handed out long ago should have been."""
    handed_out = task.last_run_at.timestamp() if task.last_run_at else 0.0
    began = state.started_at
    if began is not None and began < handed_out < state.now - LATE_SEC:
        return warn(TOPIC, gettext("%(name)s has run, and not succeeded") % {"name": shown_name(task.name)}, advice)
    return ok(TOPIC, gettext("%(name)s has not been due yet") % {"name": shown_name(task.name)})


def _late(task: PeriodicTask, succeeded: float) -> float:
    """By how many seconds its next run is overdue; negative while it is not due."""
    remaining = task.schedule.remaining_estimate(datetime.fromtimestamp(succeeded, UTC))
    return -float(remaining.total_seconds())


def _settled(state: InstallationState) -> bool:
    """After a start everything that was due meanwhile still has to run."""
    return state.started_at is None or state.now - state.started_at > LATE_SEC


def _span(seconds: float) -> str:
    """In the unit that fits: a doctor's line is no place for 86,400 seconds."""
    seconds = max(seconds, 0.0)
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.0f} h"
