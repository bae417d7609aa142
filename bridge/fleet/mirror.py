"""Heartbeats as rows: those of this moment for pages, and a copy in the database for the time when Redis is away."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta

from django.db import transaction
from django.db.models import Sum
from django.utils import timezone

from accounts.alerts.raising import raise_alert
from bridge.fleet import behaviours, heartbeats, sizes, spread_orders
from bridge.models import Instance
from bridge.status.instance import InstanceStatus
from bridge.status.states import TAKING_TURNS, InstanceState
from bridge.status.versions import numbers
from gateway_project.lib.database import database_state as database
from gateway_project.lib.redis.redis_client import connect

log = logging.getLogger(__name__)

# How long an instance without a heartbeat stays in the list.
REMEMBERED = timedelta(days=1)
MISSED = timedelta(hours=1)  # how long one that is gone counts as one there should be

VERSION_CHANGED = "version_changed"
Versions = Mapping[str, tuple[str, str]]
"""Names to states and versions."""

LONGEST_VERSION = Instance._meta.get_field("version").max_length
MUTABLE = [field.name for field in Instance._meta.concrete_fields if not field.primary_key]


def current(redis_url: str) -> list[Instance]:
    """The instances as they are now, and those that were gone within REMEMBERED. Raise redis.RedisError."""
    with connect(redis_url) as client:
        rows = {status.name: _row(status) for status in heartbeats.read_all(client)}
    missing = list(Instance.objects.exclude(pk__in=rows).filter(seen_at__gte=timezone.now() - REMEMBERED))
    away = sizes.taken_away(each.name for each in missing)
    return [*rows.values(), *(_gone(each) for each in missing if each.name not in away)]


def long_gone(instance: Instance) -> bool:
    """Whether it was taken away rather than lost; the list of instances shows it for a while still."""
    return instance.state == InstanceState.GONE and timezone.now() - instance.seen_at > MISSED


def places() -> int | None:
    """How many turns the instances take at once, as the copy has it; None where there are none."""
    present = Instance.objects.exclude(state=InstanceState.GONE).order_by()
    found: int | None = present.aggregate(places=Sum("limit"))["places"]
    return found or None


def refresh(redis_url: str) -> list[Instance]:
    """Bring the copy up to date; those that are alive. Safe to run twice and at once. Raise redis.RedisError."""
    with connect(redis_url) as client:
        # Redis first, so that no connection to the database is held while it is waited for.
        found = heartbeats.read_all(client)
    with database.doing_without():
        return record(found, timezone.now())
    return []


def record(found: Iterable[InstanceStatus], now: datetime) -> list[Instance]:
    """Make the copy say what was found, and log which states changed. Safe to run twice and at once."""
    rows = {status.name: _row(status) for status in found}
    # Readers see all instances of one moment, or all of the one before.
    with transaction.atomic():
        before = {name: (state, version) for name, state, version in _known()}
        asked = behaviours.keep(rows)
        Instance.objects.bulk_create(
            rows.values(), update_conflicts=True, unique_fields=["name"], update_fields=MUTABLE
        )
        missing = Instance.objects.exclude(pk__in=rows)
        forgotten = missing.filter(seen_at__lt=now - REMEMBERED)
        spread_orders.forget(list(forgotten.values_list("name", flat=True)))
        forgotten.delete()
        Instance.objects.filter(pk__in=sizes.taken_away(missing.values_list("name", flat=True))).delete()
        # Kept for a day as "gone": an operator looks for what is missing, and a row that vanished says nothing.
        missing.update(state=InstanceState.GONE, in_flight=0, login=False)
        after = {name: (state, version) for name, state, version in _known()}
        moved = {name for name, row in rows.items() if is_as_installed(row)}
        _raise_drift({name: facts for name, facts in before.items() if name not in moved}, after, now)
        behaviours.raise_alert_about(asked, rows, now)
    for name, (state, _) in after.items():
        was = before[name][0] if name in before else None
        if was != state:
            _log_change(name, was, state, rows.get(name))
    return [*rows.values()]


def is_as_installed(instance: Instance) -> bool:
    """It reports the version that somebody wanted it to be."""
    return bool(instance.installed) and numbers(instance.installed) == numbers(instance.version)


def _known() -> Iterable[tuple[str, str, str]]:
    return Instance.objects.values_list("name", "state", "version")


def _raise_drift(before: Versions, after: Versions, now: datetime) -> None:
    """An alert for those that report another version than before."""
    changed = [
        f"{name}: {before[name][1]} → {version}"
        for name, (_, version) in sorted(after.items())
        if version and name in before and before[name][1] not in ("", version)
    ]
    if changed:
        raise_alert(VERSION_CHANGED, changed, now, subject="")


def _log_change(name: str, before: str | None, state: str, row: Instance | None) -> None:
    # The level follows the state it is in now; recovering is no warning.
    # Between ready and busy it goes all day long.
    if before in TAKING_TURNS and state in TAKING_TURNS:
        return
    bad = InstanceState(state).needs_attention
    fields = {"instance": name, "was": before, "state": state, "error": row.last_error if row else ""}
    log.log(logging.WARNING if bad else logging.INFO, "instance changed", extra={"fields": fields})


def _gone(row: Instance) -> Instance:
    row.state, row.in_flight, row.login = InstanceState.GONE, 0, False
    return row


def _kept(text: str) -> str:
    """A service may say anything, and PostgreSQL refuses all rows for one text with a NUL, or one that is too long."""
    return text.replace("\0", "")


def _row(status: InstanceStatus) -> Instance:
    row = Instance(
        name=status.name,
        process=status.process,
        pid=status.pid,
        generation=status.generation,
        state=status.state,
        login=status.login,
        account=status.account,
        login_expires_at=datetime.fromtimestamp(status.login_expires_at, UTC) if status.login_expires_at else None,
        in_flight=status.in_flight,
        limit=status.limit,
        restarts=status.restarts,
        last_error=_kept(status.last_error),
        version=_kept(status.version)[:LONGEST_VERSION],
        upstream=status.upstream,
        models_offered=status.models,
        started_at=datetime.fromtimestamp(status.started_at, UTC) if status.started_at else None,
        seen_at=datetime.fromtimestamp(status.at, UTC),
    )
    row.waiting, row.maintenance = status.waiting, status.maintenance
    row.replacing, row.not_replaced = status.replacing, status.not_replaced
    row.cools_for, row.smoke = status.cools_for, status.smoke
    if status.cool_until > status.at:
        row.cool_until = datetime.fromtimestamp(status.cool_until, UTC)
    row.installed, row.is_named_twice = status.installed, status.is_named_twice
    row.memory, row.disk, row.stuck = status.memory, status.disk, status.stuck
    row.held_login, row.login_generation = status.held_login, status.login_generation
    return row
