"""What a key may know of itself: who it is, its models, its limits, its usage by day, its last requests."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from datetime import time as clock_time
from functools import partial
from typing import Any, Final
from zoneinfo import ZoneInfo

import msgspec
import redis
from django.db import connection
from django.utils.timezone import get_default_timezone_name

from accounts.apps import accounts_config
from accounts.explain.sentences import LIMITS, verdict
from accounts.keys.reader import Caller, caller_of
from accounts.ledger.trace import decoded
from accounts.limits.counters import LimitState
from accounts.limits.lookup import states_of
from accounts.models import ApiKey, Usage
from accounts.patterns import allows
from accounts.reports.filters import Filters
from accounts.reports.period import Span
from accounts.reports.summary import summarize
from accounts.reports.sums import Sums
from accounts.reports.visibility import Visibility
from gateway_project.lib.database import database_state as database
from gateway_project.lib.database.query_thread import QueryThread

DAYS: Final = 30
REQUESTS: Final = 50
MODELS: Final = 100
READ_SEC: Final = 2.0
GIVE_UP_SEC: Final = 3.0
FRESH_SEC: Final = 1.0
MOST_KEPT: Final = 1000
MOST_READING: Final = 8

_thread = QueryThread("key-reports")


class TooManyReports(Exception):
    """So many reports are being read that one more has to come back later."""


class KeyReport(msgspec.Struct, frozen=True):
    """Without the limits, which stand in Redis. Times are RFC 3339, days dates in `time_zone`, the newest first."""

    name: str
    hint: str | None
    """None with an older secret: nothing of that is stored."""
    secret_ends_at: str | None
    """When the secret that it was asked with ends, as the key has a newer one; None: with the key."""
    team: str | None
    state: str
    expires_at: str | None
    expires_after_days: int | None
    """Counted from the first request."""
    first_request_at: str | None
    content_kept_days: int
    """How long what it sends and receives is kept; 0: it is not."""
    allowed_models: list[str] | None
    """Patterns; None: all."""
    models: list[str]
    """Those that it may use of what accounts offer now."""
    time_zone: str
    days: list[dict[str, Any]]
    requests: list[dict[str, Any]]


class KeyReports:
    """Reads reports for one process. Whoever asks with the same secret within a second gets the same."""

    def __init__(self) -> None:
        self._read: dict[bytes, tuple[float, asyncio.Task[KeyReport | None]]] = {}
        self._reading = 0

    async def of(self, caller: Caller) -> KeyReport | None:
        """The report of the caller's key, None if it is gone. Raise Error, or TooManyReports."""
        now = time.monotonic()
        read_at, task = self._read.get(caller.digest, (0.0, None))
        if task is None or (task.done() and (now - read_at > FRESH_SEC or task.exception())):
            if self._reading >= MOST_READING:
                raise TooManyReports
            if len(self._read) >= MOST_KEPT:
                # Those that are still being read stay, as others wait for them.
                self._read = {each: kept for each, kept in self._read.items() if not kept[1].done()}
            task = asyncio.get_running_loop().create_task(self._fetch(caller))
            self._read[caller.digest] = now, task
        # The shield keeps one caller that hangs up from cancelling the read of the others.
        return await asyncio.shield(task)

    async def _fetch(self, caller: Caller) -> KeyReport | None:
        self._reading += 1
        try:
            # One thread reads them one after the other: each waits for those that were there before.
            return await _thread.run(partial(_report, caller), GIVE_UP_SEC * self._reading)
        finally:
            self._reading -= 1


def _report(caller: Caller) -> KeyReport | None:
    try:
        with database.within(READ_SEC):
            key = ApiKey.objects.select_related("team").filter(pk=caller.key_id).first()
            return None if key is None else report_of(key, caller.digest.hex(), datetime.now(UTC))
    finally:
        connection.close()  # nothing else ends this thread's use of it


def report_of(key: ApiKey, digest: str, now: datetime) -> KeyReport:
    """The report on a key for the holder of the secret with this digest. Blocking; raise Error."""
    zone = zone_of(key)
    patterns, rows = caller_of(key).models, _latest(key)
    return KeyReport(
        name=key.name,
        hint=key.hint if digest == key.digest else None,
        secret_ends_at=_text(key.end_of_older(digest)),
        team=key.team.name if key.team else None,
        state=str(key.state(now).value),
        expires_at=_text(key.expires_at),
        expires_after_days=key.expires_after_days,
        first_request_at=_text(first_seen(key, rows)),
        content_kept_days=accounts_config().content_days if key.content_logging else 0,
        allowed_models=None if patterns is None else sorted(patterns),
        models=usable_models(patterns, accounts_config().offered_models()),
        time_zone=zone,
        days=_days(key, now, ZoneInfo(zone)),
        requests=[_request(row) for row in rows],
    )


def first_seen(key: ApiKey, rows: Sequence[Usage]) -> datetime | None:
    """The time of its first request, as far as is known, else None. `rows` are its last, the newest first."""
    return key.first_used_at or key.last_used_at or (rows[-1].started_at if rows else None)


def usable_models(patterns: frozenset[str] | None, offered: Mapping[str, str]) -> list[str]:
    """The models that the key may use, by their keys; each is known by all of its names."""
    names: dict[str, list[str]] = {}
    for name, model in offered.items():
        names.setdefault(model, [model]).append(name)
    found = sorted(model for model, all_ in names.items() if patterns is None or allows(patterns, all_))
    return found[:MODELS]


def error_of(row: Usage) -> str:
    """The message of the row's error, or "". A refusal by a limit has none: its sentence says it all."""
    trace = decoded(row.trace)
    return trace.error if trace is not None and row.reason not in LIMITS else ""


def limits_of(key: ApiKey, client: redis.Redis) -> list[LimitState]:
    """The limits of the key and its team as they stand. Blocking; raise redis.RedisError or Error."""
    return states_of(caller_of(key).limits, client)


def zone_of(key: ApiKey) -> str:
    """The name of the time zone that its days are in."""
    return (key.team.time_zone if key.team else "") or get_default_timezone_name()


def days_of(key: ApiKey, now: datetime, zone: ZoneInfo) -> dict[date, Sums]:
    """The sums of its turns on each of the last DAYS days, the newest first. Blocking; raise Error."""
    today = now.astimezone(zone).date()
    days = [today - timedelta(number) for number in range(DAYS)]
    start = datetime.combine(days[-1], clock_time(), zone).astimezone(UTC)
    filters = Filters(now=now, zone=zone, span=Span(start, None), values={"key": (str(key.pk),)})
    # The filter is the key itself, so nothing of others is among them.
    found = summarize(filters, Visibility(everything=True), ("day",), histograms=False)
    return {day: found.get((day,), Sums()) for day in days}


def _days(key: ApiKey, now: datetime, zone: ZoneInfo) -> list[dict[str, Any]]:
    return [{"day": day.isoformat(), **_sums(sums)} for day, sums in days_of(key, now, zone).items()]


def _sums(sums: Sums) -> Mapping[str, int | None]:
    return {
        "turns": sums.turns, "failed": sums.failed, "refused": sums.refused, "cancelled": sums.cancelled,
        **sums.tokens, "estimated_turns": sums.estimated_turns,
    }  # fmt: skip


def _latest(key: ApiKey) -> list[Usage]:
    return list(Usage.objects.filter(api_key=key).order_by("-started_at")[:REQUESTS])


def _request(row: Usage) -> dict[str, Any]:
    ended = verdict(row)
    return {
        "id": row.request_id,
        "started_at": _text(row.started_at),
        "endpoint": row.endpoint,
        "model": row.model,
        "lingma_model": row.lingma_model,
        "stream": row.stream,
        "status": row.status,
        "reason": row.reason,
        "explanation": " ".join(filter(None, (ended.sentence, ended.advice))),
        "error": error_of(row) or None,
        "count": row.count,
        "limit_scope": row.limit_scope or None,
        "limit": row.allowed,
        "used": row.value,
        "retry_after": row.retry_after,
        "first_token_ms": row.first_token_ms,
        "total_ms": row.total_ms,
        "prompt_tokens": row.prompt_tokens if row.tokens_known else None,
        "completion_tokens": row.completion_tokens if row.tokens_known else None,
        "tokens_from": row.usage_source if row.tokens_known else None,
    }


def _text(at: datetime | None) -> str | None:
    if at is None:
        return None
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
