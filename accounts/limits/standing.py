"""How the limits of a key or a team stand, for the console and the API. Blocking; raise redis.RedisError."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from typing import NamedTuple

import redis
from django.utils.timezone import get_default_timezone_name

from accounts.keys.limit_set import LimitSet, limit_set
from accounts.keys.reader import caller_of
from accounts.limits.counters import LimitState
from accounts.limits.lookup import ShadowDay, shadow_day, states_of
from accounts.limits.periods import periods_at
from accounts.models import ApiKey, Team


class Shadowed(NamedTuple):
    """How many requests a limit in shadow mode would have refused on the gateway's days."""

    today: int
    yesterday: int


class Standing(NamedTuple):
    """A limit now; `would_have_refused` is None for one that is enforced."""

    state: LimitState
    would_have_refused: Shadowed | None


def limits_for(owner: ApiKey | Team) -> Sequence[LimitSet]:
    """The limits that count for it: of a key those of its team, too."""
    if isinstance(owner, ApiKey):
        return caller_of(owner).limits
    found = limit_set("team", owner, owner.time_zone)
    return [found] if found else []


def standing_of(owner: ApiKey | Team, limits: Sequence[LimitSet], client: redis.Redis) -> list[Standing]:
    """Each of its limits. Those in shadow mode count what they would have refused to the key, or to the team's keys."""
    states = states_of(limits, client)
    if not any(state.shadow for state in states):
        return [Standing(state, None) for state in states]
    key_ids = {owner.pk} if isinstance(owner, ApiKey) else set(owner.keys.values_list("pk", flat=True))
    days = last_days(client)
    return [
        Standing(state, Shadowed(*(_sum(day, state, key_ids) for day in days)) if state.shadow else None)
        for state in states
    ]


def last_days(client: redis.Redis) -> tuple[ShadowDay, ShadowDay]:
    """Today and yesterday."""
    now = time.time()
    # A second before this day began, as days have 23 to 25 hours.
    return shadow_day(client, now), shadow_day(client, periods_at(now, get_default_timezone_name()).starts[0] - 1)


def _sum(day: ShadowDay, state: LimitState, key_ids: Collection[int]) -> int:
    return sum(
        count
        for (key_id, scope, name), count in day.limits.items()
        if (scope, name) == (state.scope, state.name) and key_id in key_ids
    )
