"""Redis, the ledger, the web processes, Celery's worker and scheduler."""

from __future__ import annotations

import http.client
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import msgspec
import redis
from celery import current_app
from django.db.models import Max
from django.utils.translation import gettext, ngettext
from django_celery_beat.models import PeriodicTask

from accounts.ledger import spool
from bridge.doctor.finding import Finding, fail, ok, warn
from bridge.doctor.installation_state import WAIT_SEC, InstallationState
from bridge.fleet import heartbeats
from bridge.models import Instance
from gateway_project.lib.degraded import WORKER
from gateway_project.lib.redis import redis_fitness, redis_keys

SLOW_SEC = 60
LONGEST_ANSWER = 1 << 20
LONGEST_REST_SEC = 240
"""The scheduler writes its last runs into the database every three minutes."""


class _Mode(msgspec.Struct):
    name: str
    since: str
    still_works: str


class _Readiness(msgspec.Struct):
    degraded: list[_Mode] = []


def store(state: InstallationState) -> Iterator[Finding]:
    """Redis answers, takes writes, and keeps what it is given."""
    try:
        info: Any = state.redis.info()
        # A server may answer and still take no writes: a full disk or a replica.
        refused = redis_fitness.refusal(state.redis)
        state.heartbeats = heartbeats.read_all(state.redis)
        state.heard_at = time.time()
    except (redis.RedisError, OSError) as exc:
        yield _no_answer(state, exc)
        return
    state.redis_answers = True
    state.redis_writes = not refused
    yield _version(info)
    unfit = list(redis_fitness.faults(info))
    yield from (fail("redis", each.what, each.advice) for each in unfit)
    if refused and not unfit:
        what = gettext("it takes no writes: %(error)s") % {"error": refused}
        yield fail("redis", what, gettext("See its own log; turns go on, and rows wait in files."))
    yield from _keeping(info)


def _no_answer(state: InstallationState, exc: Exception) -> Finding:
    if state.env.redis_url:
        what = gettext("it does not answer: %(error)s") % {"error": exc}
        return fail("redis", what, gettext("Start the server, or correct REDIS_URL."))
    if state.started_at is None:
        what = gettext("the embedded server runs with the gateway only")
        return warn("redis", what, gettext("Start the gateway: make run."))
    log = state.data_dir / "redis" / "server.log"
    what = gettext("the embedded server does not answer: %(error)s") % {"error": exc}
    return fail("redis", what, gettext("See %(path)s; restart the gateway.") % {"path": log})


def _version(info: dict[str, Any]) -> Finding:
    valkey = info.get("valkey_version")
    name = f"Valkey {valkey}" if valkey else f"Redis {info.get('redis_version', '?')}"
    if redis_fitness.OLDEST <= redis_fitness.version(info) < redis_fitness.ADVISED:
        return warn("redis", gettext("%(name)s answers, but is old") % {"name": name}, gettext("Take 6.2 or newer."))
    return ok("redis", gettext("%(name)s answers") % {"name": name})


def _keeping(info: dict[str, Any]) -> Iterator[Finding]:
    policy = info.get("maxmemory_policy", "unknown")
    if not policy.startswith("allkeys"):
        yield ok("redis", gettext("maxmemory-policy is %(policy)s: usage rows are kept") % {"policy": policy})
    elif not redis_fitness.evicts_rows(info):
        lost = gettext("maxmemory-policy is %(policy)s: with a maxmemory, usage rows would be thrown away")
        yield warn("redis", lost % {"policy": policy}, gettext("Set maxmemory-policy noeviction."))
    if not info.get("aof_enabled"):
        lost = gettext("no append-only file: a crash loses usage rows not filed yet")
        yield warn("redis", lost, gettext("Set appendonly yes."))


def ledger(state: InstallationState) -> Iterator[Finding]:
    """Rows that wait to be filed, and since when."""
    directory = state.data_dir / "spool"
    rows, age = spool.waiting(directory), 0.0
    if state.redis_answers:
        rows += int(state.redis.xlen(redis_keys.USAGE))
        first: Any = state.redis.xrange(redis_keys.USAGE, count=1)
        # The id of a stream's entry begins with its time in milliseconds.
        age = state.now - int(first[0][0].partition(b"-")[0]) / 1000 if first else 0.0
    shown = {"count": rows, "seconds": age}
    if age > SLOW_SEC and state.running:
        advice = gettext("See the log of the worker, and what is said of the database; the rows are safe meanwhile.")
        waited = ngettext(
            "%(count)d usage row waits to be filed, for %(seconds)d s",
            "%(count)d usage rows wait to be filed, the first for %(seconds)d s",
            rows,
        )
        yield fail("ledger", waited % shown, advice)
    else:
        waits = ngettext("%(count)d usage row waits to be filed", "%(count)d usage rows wait to be filed", rows)
        yield ok("ledger", waits % shown)
    if set_aside := len(spool.lines_of(directory / spool.REJECTED)):
        path = directory / spool.REJECTED
        what = ngettext("%(count)d row could not be filed", "%(count)d rows could not be filed", set_aside)
        yield warn(
            "ledger",
            what % {"count": set_aside},
            gettext("Look into %(path)s; delete it when you have.") % {"path": path},
        )


def web(state: InstallationState) -> Iterator[Finding]:
    """The gateway answers at HOST and PORT; and what it lacks."""
    host, port = state.env.host, state.env.port
    # One cannot connect to "all addresses": the loopback is one of them.
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound
    place = {"place": f"{host}:{port}"}
    try:
        status, body = _readiness(host, port)
    except (OSError, http.client.HTTPException) as exc:
        if state.started_at is not None:
            advice = gettext("See the log of the web processes; is PORT the one it was started with?")
            yield fail("web", gettext("no answer at %(place)s: %(error)s") % {**place, "error": exc}, advice)
        else:
            what = gettext("no gateway runs on %(path)s") % {"path": state.data_dir}
            yield warn("web", what, gettext("Start the gateway: make run."))
        return
    match status:
        case 200:
            yield ok("web", gettext("ready at %(place)s") % place)
        case 503:
            what = gettext("it answers at %(place)s, but can take no chat") % place
            yield fail("web", what, gettext("See what is said of Lingma and of instances."))
        case _:
            what = gettext("something else answers at %(place)s (%(status)d)") % {**place, "status": status}
            yield fail("web", what, gettext("Stop it, or set PORT."))
            return
    yield from _away(body)


def _readiness(host: str, port: int) -> tuple[int, bytes]:
    with closing(http.client.HTTPConnection(host, port, timeout=WAIT_SEC)) as connection:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        # Bounded, as something else may listen on that port.
        return answer.status, answer.read(LONGEST_ANSWER)


def _away(body: bytes) -> Iterator[Finding]:
    """What the processes report as away: each may lack something that nobody else sees from outside."""
    try:
        answer = msgspec.json.decode(body, type=_Readiness)
    except msgspec.MsgspecError:  # of another version
        return
    for each in answer.degraded:
        facts = {
            "name": each.name and gettext(each.name),
            "time": _shown(each.since),
            "still": gettext(each.still_works),
        }
        # As it stands in the log, which is not translated.
        advice = gettext('Search the log for "degraded: %(name)s": it has the cause.') % {"name": each.name}
        yield warn("web", gettext("%(name)s is away since %(time)s; %(still)s") % facts, advice)


def _shown(time: str) -> str:
    """An ISO time for people."""
    try:
        return f"{datetime.fromisoformat(time).astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    except ValueError:  # of another version
        return time


def _worker_answers() -> bool:
    try:
        return bool(current_app.control.ping(timeout=WAIT_SEC, limit=1))
    except redis.ResponseError:
        # A connection that was kept tells late that Redis has changed its role; the next question is a new one.
        return bool(current_app.control.ping(timeout=WAIT_SEC, limit=1))


def background(state: InstallationState) -> Iterator[Finding]:
    """Celery's worker answers, and its scheduler has run of late."""
    if not (state.running and state.redis_answers):
        return
    advice = gettext("See its log; restart the gateway.")
    if not state.redis_writes:
        what = gettext("it cannot be asked: Redis takes no writes")
        yield warn("worker", what, gettext("See what is said of Redis."))
    # The answer comes through Redis, so a ping also proves that the worker reads from this server.
    elif _worker_answers():
        yield ok("worker", gettext("it answers"))
    else:
        what = gettext("no Celery worker answers within %(seconds)s s: usage is not filed")
        yield fail("worker", what % {"seconds": f"{WAIT_SEC:g}"}, advice)
        if state.redis.get(redis_keys.SCHEDULER) == WORKER.encode():
            return  # what is said of the process is said of its scheduler
    if not state.database_answers:
        return
    rest = state.now - _last_run(state)
    if rest > LONGEST_REST_SEC:
        yield fail("scheduler", gettext("Celery beat has not run for %(seconds)d s") % {"seconds": rest}, advice)
    else:
        yield ok("scheduler", gettext("last sign %(seconds)d s ago") % {"seconds": max(rest, 0)})


def _last_run(state: InstallationState) -> float:
    """Of any schedule; its start, for a gateway that has only just been started."""
    seen = Instance.objects.aggregate(last=Max("seen_at"))["last"]  # written by a schedule
    last_run = PeriodicTask.objects.aggregate(last=Max("last_run_at"))["last"]
    signs: list[float] = [each.timestamp() for each in (seen, last_run) if each]
    # The start counts as a sign: a gateway of a few seconds has run no schedule yet.
    return max([state.started_at or 0.0, *signs])
