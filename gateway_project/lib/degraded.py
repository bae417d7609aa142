"""Degraded modes: what does not work now, and what still does; logged at the beginning and the end, else counted.

Every process has its own view, and publishes it in Redis as a sign of life; web processes read those of all.
"""

from __future__ import annotations

import logging
import time
from typing import Final

import msgspec

from gateway_project.lib.redis import redis_keys
from gateway_project.lib.redis.lean_redis import redis
from gateway_project.lib.texts import gettext_noop

logger = logging.getLogger(__name__)

STILL_WORKS: Final = {
    "redis": gettext_noop(
        "turns go on without sessions reused; limits count per process, each with its share; usage rows wait in files"
    ),
    "limits": gettext_noop("Redis is slow: turns go on; limits count per process, each with its share of them"),
    "database": gettext_noop(
        "known keys go on, with aliases and prompts as they were; unknown ones are told to come back; "
        "usage rows wait in Redis"
    ),
    "disk": gettext_noop("turns go on; usage rows wait in Redis or memory; metrics are kept in memory"),
    "flush": gettext_noop("turns go on; usage rows wait in Redis and in files"),
    "ledger": gettext_noop("turns go on and usage is filed; figures of some hours are wrong"),
    "tasks": gettext_noop("turns go on and usage is filed; scheduled tasks wait"),
    "instances": gettext_noop("turns wait in the queue for an instance that comes back by itself"),
    "worker": gettext_noop(
        "turns go on; usage rows and scheduled tasks wait in Redis; the console shows old states of instances"
    ),
    "beat": gettext_noop("turns go on and usage is filed; sessions are not cleaned, instances not looked at"),
}
"""The modes, by the part that is away; pages translate what works."""

PARTS: Final = (
    gettext_noop("redis"), gettext_noop("limits"), gettext_noop("database"), gettext_noop("disk"),
    gettext_noop("flush"), gettext_noop("ledger"), gettext_noop("tasks"), gettext_noop("instances"),
    gettext_noop("worker"), gettext_noop("beat"),
)  # fmt: skip
"""Their names, which pages translate. In logs, metrics and answers of programs they stand as they are."""

WHAT_TO_DO: Final = {
    "redis": gettext_noop("See whether it runs, is reachable and has room."),
    "limits": gettext_noop("See what keeps Redis busy, and how far it is."),
    "database": gettext_noop("See whether it runs, is reachable and has free connections."),
    "disk": gettext_noop("Make room in DATA_DIR."),
    "flush": gettext_noop("The log of the worker says why."),
    "ledger": gettext_noop(
        "manage.py reconcile_usage names the hours and days, and manage.py rebuild_usage makes their sums anew."
    ),
    "tasks": gettext_noop("See the log of the worker."),
    "instances": gettext_noop("The list of instances says why of each."),
    "worker": gettext_noop("Start it; see its log."),
    "beat": gettext_noop("Start it; see its log."),
}
"""What an operator does about each; translated as well."""


class Mode(msgspec.Struct, frozen=True):
    """One mode that is on. `since` is unix seconds, `times` how often the trouble has been met."""

    name: str
    why: str
    since: float
    times: int = 1


_active: dict[str, Mode] = {}
_last_end: list[float] = []
"""Unix seconds at which the last mode of this process ended; empty: none has been on."""


def begin(name: str, why: str) -> None:
    """Report that the part is away, or still is. Cheap enough to call at every failure; only the first is logged."""
    # Calls come from several threads. A race costs a wrong count or a second log line, and a lock would cost each call.
    mode = _active.get(name)
    if mode is not None:
        _active[name] = msgspec.structs.replace(mode, times=mode.times + 1)
        return
    _active[name] = Mode(name, why[:200], time.time())
    # What still works is part of the line: operators need that first.
    logger.warning("degraded: %s (%s); %s", name, why[:200], STILL_WORKS[name])


def end(name: str) -> None:
    """Report that the part works. Costs one look-up in a dictionary when it worked before."""
    mode = _active.pop(name, None)
    if mode is not None:
        _last_end[:] = [time.time()]
        seconds = time.time() - mode.since
        logger.warning("well again: %s after %.1f s, met %d times (%s)", name, seconds, mode.times, mode.why)


def is_on(name: str) -> bool:
    """Whether the part is away, as this process has met it."""
    return name in _active


def last_end() -> float | None:
    """When the last mode that was on in this process ended, in unix seconds."""
    return next(iter(_last_end), None)


def active() -> list[Mode]:
    return list(_active.values())


LIFETIME_SEC: Final = 15
WORKER: Final = "worker"
BEAT: Final = "beat"
"""Names of processes, and of the modes in which they are away."""


def published() -> bytes:
    """All modes that are on, for others to read."""
    return msgspec.json.encode(active())


def read(value: bytes | None) -> list[Mode] | None:
    """The modes that another process published. None if it published nothing lately, or nothing readable."""
    try:
        # A process of another version may know modes that this one has no text for; they are left out.
        return None if value is None else [each for each in _decode(value) if each.name in STILL_WORKS]
    except msgspec.MsgspecError:
        return None


def publish(client: redis.Redis, process: str) -> None:
    """Publish this process's modes, as a sign of life. Blocking. Raise redis.RedisError."""
    # With a lifetime, for a process that died cannot remove its sign.
    client.set(redis_keys.MODES + process, published(), ex=LIFETIME_SEC)


_decode = msgspec.json.Decoder(list[Mode]).decode
