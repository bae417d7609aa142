"""What the checks look at: the gateway at one moment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import redis
from django.db.models import Max, Sum

from accounts.models import FAILED, Usage
from bridge.chat.errors import CRASHING_KEY, CRASHING_PROMPT, NO_QUOTA
from bridge.fleet import attempts, mirror
from bridge.fleet.login_refresh import facts_of, known
from bridge.logins.schedule import needs_person
from bridge.models import Instance, LoginAttempt
from bridge.status.attempts import AttemptReason, AttemptState
from gateway_project.lib import degraded
from gateway_project.lib.degraded import Mode
from gateway_project.lib.redis import redis_keys
from gateway_project.lib.redis.redis_client import connect

WINDOW = timedelta(minutes=5)
"""Of which the share of failed turns is taken."""
MOST_CRASHING = 20
MOST_INSTANCES = 1000
ALONE = [each.value for each in AttemptReason if each.by_itself]
PAGE = "/admin/bridge/login/%d/change/"


@dataclass(frozen=True)
class AlertOptions:
    """From where on something is an alert."""

    login_days: int = 3
    error_percent: int = 20
    least_turns: int = 20
    """With fewer in WINDOW nobody can tell how many fail."""
    queue_length: int = 20
    memory_mb: int = 2048
    disk_mb: int = 5120
    """MiB that one instance takes; 0: however much."""
    private_webhooks: bool = False
    mail_from: str = ""
    console: str = ""
    """The origin of the console, for addresses in what is sent; "": nobody has said it, and they are paths."""


@dataclass(frozen=True)
class View:
    """The gateway at one moment. `instances` is None while nobody knows them, because Redis is away."""

    now: datetime
    options: AlertOptions
    instances: Sequence[Instance] | None
    modes: frozenset[str]
    turns: int = 0
    failed: int = 0
    need_person: Sequence[str] = ()
    """Logins that somebody has to log in to, each with where that is done."""
    not_taken: Sequence[str] = ()
    """Logins whose attempts no login worker takes."""
    crashing: Sequence[str] = ()
    """Turns over which the service has exited, and keys that are refused for it."""
    without_quota: Sequence[str] = ()
    """Instances whose account had no plan left at the last turn that they answered or refused."""


def look(redis_url: str, options: AlertOptions, now: datetime) -> View:
    """At everything, once. Raise what the database raises."""
    try:
        with connect(redis_url) as client:
            modes = _modes(client)
        instances = [each for each in mirror.current(redis_url) if not mirror.long_gone(each)]
    except redis.RedisError:
        modes, instances = {"redis"}, None
    turns, failed = _turns(now)
    active = frozenset(modes | _names(degraded.active()))
    return View(
        now, options, instances, active, turns, failed, _need_person(options, now), attempts.not_taken(now),
        _crashing(now), without_quota(now),
    )  # fmt: skip


def _need_person(options: AlertOptions, now: datetime) -> list[str]:
    waiting = LoginAttempt.objects.filter(state=AttemptState.NEEDS_PERSON, reason__in=ALONE)
    those = set(waiting.values_list("login", flat=True))
    return [
        f"{login.label} ({options.console}{PAGE % login.pk})"
        for login in known()
        if login.pk in those or needs_person(facts_of(login), options.login_days, now.timestamp())
    ]


def _crashing(now: datetime) -> list[str]:
    """The keys with the requests that did it. Those that are refused since are named by their key alone."""
    recent = Usage.objects.filter(started_at__gte=now - WINDOW, reason__in=[CRASHING_PROMPT, CRASHING_KEY])
    rows = recent.order_by("started_at", "id").select_related("api_key")
    did_it = rows.filter(reason=CRASHING_PROMPT).exclude(status=Usage.Status.REFUSED)[:MOST_CRASHING]
    refused = {str(row.api_key) for row in rows.filter(reason=CRASHING_KEY)[:MOST_CRASHING]}
    return [f"{row.api_key}: {row.request_id}" for row in did_it] + sorted(refused)


def without_quota(now: datetime) -> list[str]:
    """Those whose plan was used up within WINDOW, and that have answered nothing since."""
    recent = Usage.objects.filter(started_at__gte=now - WINDOW).exclude(instance="").order_by()
    refused = recent.filter(reason=NO_QUOTA).values("instance").annotate(last=Max("started_at"))
    last = {each["instance"]: each["last"] for each in refused[:MOST_INSTANCES]}
    if not last:
        return []
    answered = (
        recent.filter(instance__in=last, status=Usage.Status.OK).values("instance").annotate(last=Max("started_at"))
    )
    well = {each["instance"] for each in answered if each["last"] > last[each["instance"]]}
    return sorted(last.keys() - well)


def _modes(client: redis.Redis) -> set[str]:
    """Those that any process has published."""
    keys = list(client.scan_iter(f"{redis_keys.MODES}*", count=1000))
    values: Any = client.mget(keys) if keys else []
    return {name for value in values for name in _names(degraded.read(value) or [])}


def _names(modes: Sequence[Mode]) -> set[str]:
    return {each.name for each in modes}


def _turns(now: datetime) -> tuple[int, int]:
    """Turns and refusals of the last minutes, and those of them that failed."""
    recent = Usage.objects.filter(started_at__gte=now - WINDOW).order_by()
    sums = recent.aggregate(turns=Sum("count", default=0), failed=Sum("count", filter=FAILED, default=0))
    return sums["turns"], sums["failed"]
