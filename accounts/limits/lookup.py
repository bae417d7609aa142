"""How limits stand, for pages and commands. Blocking; raise redis.RedisError, or Error of the database."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import redis

from accounts.keys.limit_set import LimitSet, Scope
from accounts.limits.counters import LimitState, Seen, look_up, shadow_key
from accounts.limits.ledger_budgets import completed, lacking_in, used_before
from accounts.limits.scripts import ADMIT, numbers_of
from accounts.models.policy import LIMITS

SCOPES: Mapping[str, Scope] = {"k": "key", "t": "team"}
"""By the letters that the script counts with."""


def states_of(limits: Sequence[LimitSet], client: redis.Redis) -> list[LimitState]:
    """These limits as they stand, with what only the ledger knows of budgets. Raise redis.RedisError or Error."""
    if not limits:
        return []
    at = time.time()
    counters, keys, args = look_up(limits, at)
    reply: Any = client.eval(ADMIT.text, len(keys), *keys, *args)
    seen = Seen(counters, numbers_of(reply)[3:], at)
    if lacking := lacking_in(seen):
        since: list[Any] = [client.hget(each.name, "since") for each in lacking]
        seen = completed(seen, lacking, used_before(lacking, since, at))
    return seen.states()


@dataclass(frozen=True)
class ShadowDay:
    """Counts of what limits in shadow mode would have refused on one of the gateway's days."""

    requests: dict[int, int] = field(default_factory=dict)
    """By key."""
    limits: dict[tuple[int, Scope, str], int] = field(default_factory=dict)
    """By key, and the limit of the key or of its team."""


def shadow_day(client: redis.Redis, at: float) -> ShadowDay:
    """The counts of the day that holds the moment `at`."""
    day = ShadowDay()
    counts: Any = client.hgetall(shadow_key(at))
    for name, count in counts.items():
        key_id, _, limit = name.decode().partition(":")
        if not limit:
            day.requests[int(key_id)] = int(count)
        else:
            letter, number = limit.split(":")
            # The script counts limits from 1.
            day.limits[int(key_id), SCOPES[letter], LIMITS[int(number) - 1]] = int(count)
    return day
