"""What the pools tell of their instances, read from Redis into the database."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import redis
from django.db import transaction

from bridge.models import Instance
from bridge.status.instance import InstanceStatus
from bridge.status.states import InstanceState
from gateway_project.lib import redis_keys

log = logging.getLogger(__name__)


# How long an instance without a heartbeat stays in the list.
REMEMBERED = timedelta(days=1)

MUTABLE = [field.name for field in Instance._meta.concrete_fields if not field.primary_key]

_decode = msgspec.json.Decoder(InstanceStatus).decode


def heartbeats(client: redis.Redis) -> list[InstanceStatus]:
    """The facts of every instance that is alive."""
    keys = list(client.scan_iter(f"{redis_keys.INSTANCE}*", count=1000))
    found: Any = client.mget(keys) if keys else []
    return [facts for value in found if value is not None and (facts := _read(value))]


def record(found: Iterable[InstanceStatus], now: datetime) -> None:
    """Make the rows say what was found, and tell the log which states changed. Safe to run twice and at once."""
    rows = {facts.name: _row(facts) for facts in found}
    with transaction.atomic():
        before = dict(Instance.objects.values_list("name", "state"))
        Instance.objects.bulk_create(
            rows.values(), update_conflicts=True, unique_fields=["name"], update_fields=MUTABLE
        )
        missing = Instance.objects.exclude(pk__in=rows)
        missing.filter(seen_at__lt=now - REMEMBERED).delete()
        missing.update(state=InstanceState.GONE, in_flight=0, login=False)
        after = dict(Instance.objects.values_list("name", "state"))
    for name, state in after.items():
        if before.get(name) != state:
            _tell(name, before.get(name), state, rows.get(name))


def _tell(name: str, before: str | None, state: str, row: Instance | None) -> None:
    bad = InstanceState(state).is_trouble
    fields = {"instance": name, "was": before, "state": state, "error": row.last_error if row else ""}
    log.log(logging.WARNING if bad else logging.INFO, "instance changed", extra={"fields": fields})


def _read(value: bytes) -> InstanceStatus | None:
    try:
        return _decode(value)
    except msgspec.MsgspecError as exc:
        log.warning("a heartbeat could not be read: %s", exc)
        return None


def _row(facts: InstanceStatus) -> Instance:
    return Instance(
        name=facts.name,
        process=facts.process,
        pid=facts.pid,
        generation=facts.generation,
        state=facts.state,
        login=facts.login,
        in_flight=facts.in_flight,
        limit=facts.limit,
        restarts=facts.restarts,
        last_error=facts.last_error,
        version=facts.version,
        upstream=facts.upstream,
        models_offered=facts.models,
        started_at=datetime.fromtimestamp(facts.started_at, UTC) if facts.started_at else None,
        seen_at=datetime.fromtimestamp(facts.at, UTC),
    )
