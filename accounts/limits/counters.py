"""Where the limits of a key or team are counted in Redis, and what stands there."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

import msgspec
from django.utils.timezone import get_default_timezone_name

from accounts.keys.limit_set import LimitSet, Scope
from accounts.limits.periods import PERIODS, periods_at
from accounts.limits.scripts import ADMIT, SEEN_EACH, SETTLE
from accounts.models.policy import LIMITS
from gateway_project.lib import redis_keys
from gateway_project.lib.redis_link import Arg, ScriptCall

REQUESTS: Final = (0, 3, 4, 5)
"""Places in LIMITS of those that count requests."""
TOKENS: Final = (1, 6, 7, 8)
USE: Final = (0, 2, 4, 5, 6, 7, 8, 9, 10)
"""Where the use of each limit stands among the numbers of a scope."""


class Counters:
    """The names and arguments of one scope for the scripts, as they are from `since` to before `until`."""

    __slots__ = (
        "args", "ends", "enforced", "has_budgets", "is_held", "keys", "limits", "place", "shadow", "since", "starts",
        "until",
    )  # fmt: skip

    def __init__(self, limits: LimitSet, at: float) -> None:
        periods = periods_at(at, limits.time_zone)
        self.limits = limits
        self.place = limits.scope, limits.id
        self.since, self.until = periods.starts[0], periods.ends[0]
        self.starts, self.ends = periods
        names = redis_keys.limits(limits.scope, limits.id)
        budgets = zip(PERIODS, self.starts, strict=True)
        self.keys = [*names, *(f"{redis_keys.LIMIT}{limits.scope}:{limits.id}:{name}:{at}" for name, at in budgets)]
        self.shadow = tuple(name in limits.shadow for name in LIMITS)
        self.args: list[Arg] = [
            *limits.sizes,
            limits.scope[0] + "".join("01"[each] for each in self.shadow),
            *self.ends,
        ]
        self.enforced: dict[tuple[int, ...], list[tuple[int, int, int]]] = {
            places: [
                (USE[place], size, place)
                for place in places
                if (size := limits.sizes[place]) and not self.shadow[place]
            ]
            for places in (REQUESTS, TOKENS)
        }
        """Where the use of each enforced limit stands, its size and its place in LIMITS: looked up by each answer."""
        self.is_held = any(limits.sizes[1:])
        """Whether a turn has something to give back at its end."""
        self.has_budgets = any(limits.sizes[3:])

    def shared(self, sizes: Sequence[int], at: float) -> Counters:
        """The same with limits of these sizes."""
        return Counters(msgspec.structs.replace(self.limits, sizes=tuple(sizes)), at)


class CallerCounters:
    """Those of all scopes of one caller, and the calls of the scripts on them, from `since` to before `until`."""

    __slots__ = ("admission", "counters", "is_held", "limits", "settlement", "since", "until")

    def __init__(self, key_id: int, limits: Sequence[LimitSet], at: float) -> None:
        self.limits = limits
        self.counters = [Counters(each, at) for each in limits]
        today = periods_at(at, get_default_timezone_name())
        self.since = max(today.starts[0], *(each.since for each in self.counters))
        self.until = min(today.ends[0], *(each.until for each in self.counters))
        self.is_held = any(each.is_held for each in self.counters)
        keys = [name for each in self.counters for name in each.keys]
        args = [arg for each in self.counters for arg in each.args]
        self.admission = ScriptCall(ADMIT, [*keys, shadow_key(at)], [*args, key_id], 4)
        """Follow: mode, request, tokens to reserve, when it started."""
        self.settlement = ScriptCall(SETTLE, keys, args, 5)
        """Follow: request, tokens, again, when it started, alone."""


def look_up(limits: Sequence[LimitSet], at: float) -> tuple[list[Counters], list[str], list[Arg]]:
    """Counters of the limits, and keys and arguments of ADMIT that only looks."""
    counters = [Counters(each, at) for each in limits]
    keys = [name for each in counters for name in each.keys]
    args = [arg for each in counters for arg in each.args]
    return counters, [*keys, shadow_key(at)], [*args, 0, "look", "", 0, at]


class LimitState(msgspec.Struct, frozen=True):
    """How one limit stands. `resets_at` is unix seconds: when all of it is free again if nothing else comes.

    None for turns at once, which are free when the turns end.
    """

    name: str
    scope: Scope
    limit: int
    used: int
    resets_at: float | None
    shadow: bool

    def shown(self) -> dict[str, object]:
        """As `GET /v1/usage` has it."""
        return {
            "name": self.name, "scope": self.scope, "limit": self.limit, "used": self.used,
            "remaining": self.remaining, "resets_at": self.resets_at_text, "shadow": self.shadow,
        }  # fmt: skip

    @property
    def remaining(self) -> int:
        return max(0, self.limit - self.used)

    @property
    def resets_at_text(self) -> str | None:
        return None if self.resets_at is None else self.time_text(self.resets_at)

    @staticmethod
    def time_text(at: float) -> str:
        """RFC 3339, to the second that is not too early."""
        return datetime.fromtimestamp(-(-at // 1), UTC).isoformat().replace("+00:00", "Z")


class Seen:
    """The numbers that stood in Redis when it was asked, of all scopes of a caller."""

    __slots__ = ("at", "counters", "numbers")

    def __init__(self, counters: Sequence[Counters], numbers: Sequence[int], at: float) -> None:
        self.counters = counters
        self.numbers = numbers
        self.at = at

    def state(self, scope: int, place: int) -> LimitState:
        """Of one limit: the scope by its place in `counters`, the limit by its place in LIMITS."""
        counters, first = self.counters[scope], scope * SEEN_EACH
        limits, name = counters.limits, LIMITS[place]
        resets_at: float | None
        if place < 2:
            resets_at = self.at + self.numbers[first + 1 + 2 * place] / 1000
        else:
            resets_at = None if place == 2 else counters.ends[(place - 3) % 3]
        used = self.numbers[first + USE[place]]
        return LimitState(name, limits.scope, limits.sizes[place], used, resets_at, counters.shadow[place])

    def states(self) -> list[LimitState]:
        """Of all limits that there are."""
        return [
            self.state(scope, place)
            for scope, counters in enumerate(self.counters)
            for place, size in enumerate(counters.limits.sizes)
            if size
        ]

    def nearest(self, places: tuple[int, ...]) -> LimitState | None:
        """Of the enforced limits of REQUESTS or TOKENS the one that is nearest to be exhausted, if there is one."""
        numbers, first = self.numbers, 0
        least = scope = place = -1
        for each, counters in enumerate(self.counters):
            for use, size, limit in counters.enforced[places]:
                left = size - numbers[first + use]
                if left < 0:
                    left = 0
                # Of equals the later one: it lasts longer.
                if place < 0 or left <= least:
                    least, scope, place = left, each, limit
            first += SEEN_EACH
        return None if place < 0 else self.state(scope, place)


def shadow_key(at: float) -> str:
    """Where the refusals that limits in shadow mode would have made are counted on the gateway's day."""
    zone = get_default_timezone_name()
    # The name of the day by its beginning: periods are kept, and this is asked with each request.
    return f"{redis_keys.LIMIT_SHADOW}{periods_at(at, zone).starts[0]}"
