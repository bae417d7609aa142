"""Where the limits of a key or team are counted in Redis, and what stands there."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from operator import itemgetter, sub
from typing import Final

import msgspec
from django.utils.timezone import get_default_timezone_name

from accounts.keys.limit_set import LimitSet, Scope
from accounts.limits.periods import PERIODS, periods_at
from accounts.limits.scripts import ADMIT, RESERVED, SEEN_EACH, SETTLE, numbers_in
from accounts.models.policy import LIMITS
from gateway_project.lib.redis import redis_keys
from gateway_project.lib.redis.redis_link import Arg, ScriptCall

Indexes = tuple[int, int, int, int]
REQUESTS: Final[Indexes] = (0, 3, 4, 5)
"""Indexes in LIMITS of those that count requests."""
TOKENS: Final[Indexes] = (1, 6, 7, 8)
USE: Final = (0, 2, 4, 5, 6, 7, 8, 9, 10)
"""Where the use of each limit stands among the numbers of a scope."""

Nearest = tuple[int, int, float]
"""The size of a limit, what is left of it, and when all of it is free again, in unix seconds."""
ScopeId = tuple[Scope, int]
"""A key or team, by its number in the database."""
Held = dict[ScopeId, dict[str, int]]
"""Turns of this process that hold a place, by key and team: the tokens reserved for each."""


class Counters:
    """The names and arguments of one scope for the scripts, as they are from `since` to before `until`."""

    __slots__ = (
        "args", "ends", "has_budgets", "is_held", "keys", "limits", "scope_id", "shadow", "since", "starts", "until",
    )  # fmt: skip

    def __init__(self, limits: LimitSet, at: float) -> None:
        periods = periods_at(at, limits.time_zone)
        self.limits = limits
        self.scope_id: ScopeId = (limits.scope, limits.id)
        # Those of the day: weeks and months end with one, so until then all names stay.
        self.since, self.until = periods.starts[0], periods.ends[0]
        self.starts, self.ends = periods
        names = redis_keys.limits(limits.scope, limits.id)
        budgets = zip(PERIODS, self.starts, strict=True)
        self.keys = [*names, *(f"{redis_keys.LIMIT}{limits.scope}:{limits.id}:{name}:{at}" for name, at in budgets)]
        self.shadow = tuple(name in limits.shadow for name in LIMITS)
        self.args: list[Arg] = [
            numbers_in(limits.sizes, self.ends),
            # A letter for whose limits they are, and for each whether it is a shadow.
            limits.scope[0] + "".join("01"[each] for each in self.shadow),
        ]
        self.is_held = any(limits.sizes[1:])
        """Whether a turn has something to give back at its end."""
        self.has_budgets = any(limits.sizes[3:])

    def shared(self, sizes: Sequence[int], at: float) -> Counters:
        """The same with limits of these sizes."""
        return Counters(msgspec.structs.replace(self.limits, sizes=tuple(sizes)), at)


class Enforced:
    """The enforced limits of REQUESTS or TOKENS, of all scopes of a caller."""

    # Looked up for each answer to a limited key: all that can be is done once, and the rest in C.
    __slots__ = ("_resets", "_sizes", "_used")

    def __init__(self, counters: Sequence[Counters], indexes: Indexes) -> None:
        found = [
            (scope * SEEN_EACH, index, each)
            for scope, each in enumerate(counters)
            for index in indexes
            if each.limits.sizes[index] and not each.shadow[index]
        ]
        # Of equals the later one is told, as it lasts longer: so it has to be the first.
        found.reverse()
        self._sizes = [each.limits.sizes[index] for _, index, each in found]
        self._resets = [
            (first + 1 + 2 * index, 0) if index < 2 else (-1, each.ends[(index - 3) % 3])
            for first, index, each in found
        ]
        """Where the milliseconds stand until it is free again; -1: it is free at that time."""
        used = [first + USE[index] for first, index, _ in found]
        # Once more the first: for a single one there would be no tuple. `map` ends with the sizes.
        self._used = itemgetter(*used, used[0]) if used else None

    def nearest(self, numbers: Sequence[int], at: float) -> Nearest | None:
        """`numbers` are those of all scopes, `at` when they were read; None without an enforced limit."""
        if self._used is None:
            return None
        left = [*map(sub, self._sizes, self._used(numbers))]
        least = min(left)
        if least < 0:
            left = [max(each, 0) for each in left]
            least = 0
        index = left.index(least)
        number, resets_at = self._resets[index]
        return self._sizes[index], least, resets_at if number < 0 else at + numbers[number] / 1000


class Scopes(list[Counters]):
    """Those of all scopes of one caller."""

    def __init__(self, counters: Sequence[Counters]) -> None:
        super().__init__(counters)
        self.enforced = {indexes: Enforced(self, indexes) for indexes in (REQUESTS, TOKENS)}


class CallerCounters:
    """All scopes of one caller, and the calls of the scripts on them, from `since` to before `until`."""

    __slots__ = (
        "admission", "budgets", "counters", "counts_tokens", "held", "is_held", "limits", "settlement", "since",
        "until",
    )  # fmt: skip

    def __init__(self, key_id: int, limits: Sequence[LimitSet], held: Held, at: float) -> None:
        """`held`: turns that hold a place, by scope; the ones of these scopes are added to it."""
        self.limits = limits
        self.counters = Scopes([Counters(each, at) for each in limits])
        today = periods_at(at, get_default_timezone_name())
        # Of the gateway's own day too, by which shadow limits are counted.
        self.since = max(today.starts[0], *(each.since for each in self.counters))
        self.until = min(today.ends[0], *(each.until for each in self.counters))
        self.counts_tokens = any(each.counts_tokens for each in limits)
        self.held = [held.setdefault(each.scope_id, {}) for each in self.counters if each.is_held]
        self.is_held = bool(self.held)
        self.budgets = [
            (each, slice(scope * SEEN_EACH, (scope + 1) * SEEN_EACH))
            for scope, each in enumerate(self.counters)
            if each.has_budgets
        ]
        """Those with budgets, and where their numbers stand."""
        keys = [name for each in self.counters for name in each.keys]
        args = [arg for each in self.counters for arg in each.args]
        self.admission = ScriptCall(ADMIT, [*keys, shadow_key(at)], [*args, key_id], 4)
        """Follow: mode, request, tokens to reserve, when it started."""
        there_are = ["".join("01"[size > 0] for size in each.limits.sizes) for each in self.counters]
        self.settlement = ScriptCall(SETTLE, keys, there_are, 5)
        """Follow: request, tokens, again, when it started, alone."""


def look_up(limits: Sequence[LimitSet], at: float) -> tuple[Scopes, list[str], list[Arg]]:
    """Counters of the limits, and keys and arguments of ADMIT that only looks."""
    # Not kept, as pages ask for other keys each time.
    counters = Scopes([Counters(each, at) for each in limits])
    keys = [name for each in counters for name in each.keys]
    args = [arg for each in counters for arg in each.args]
    return counters, [*keys, shadow_key(at)], [*args, 0, "look", "", 0, at]


class LimitState(msgspec.Struct, frozen=True):
    """One limit as it stands. `resets_at` is unix seconds: when all of it is free again if nothing else comes.

    None for turns at once, which are free when the turns end. `used` holds the tokens that are only `reserved`, too.
    """

    name: str
    scope: Scope
    limit: int
    used: int
    resets_at: float | None
    shadow: bool
    reserved: int = 0
    """Tokens that turns still hold, and may give back at any moment."""

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
    def spent(self) -> int:
        """`used` without the tokens that are only reserved."""
        return self.used - self.reserved

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

    def __init__(self, counters: Scopes, numbers: Sequence[int], at: float) -> None:
        self.counters = counters
        self.numbers = numbers
        self.at = at

    def state(self, scope: int, index: int) -> LimitState:
        """Of one limit: the scope by its index in `counters`, the limit by its index in LIMITS."""
        counters, first = self.counters[scope], scope * SEEN_EACH
        limits, name = counters.limits, LIMITS[index]
        resets_at: float | None
        if index < 2:
            resets_at = self.at + self.numbers[first + 1 + 2 * index] / 1000
        else:
            resets_at = None if index == 2 else counters.ends[(index - 3) % 3]
        used = self.numbers[first + USE[index]]
        reserved = self.numbers[first + RESERVED] if index in TOKENS else 0
        return LimitState(name, limits.scope, limits.sizes[index], used, resets_at, counters.shadow[index], reserved)

    def states(self) -> list[LimitState]:
        """Of all limits that there are."""
        return [
            self.state(scope, index)
            for scope, counters in enumerate(self.counters)
            for index, size in enumerate(counters.limits.sizes)
            if size
        ]

    def nearest(self, indexes: Indexes) -> Nearest | None:
        """The enforced limit of REQUESTS or TOKENS that is nearest to be exhausted, if there is one."""
        return self.counters.enforced[indexes].nearest(self.numbers, self.at)


def shadow_key(at: float) -> str:
    """The Redis key that counts what limits in shadow mode would have refused on the gateway's day around `at`."""
    zone = get_default_timezone_name()
    # The name of the day by its beginning: periods are kept, and this is asked with each request.
    return f"{redis_keys.LIMIT_SHADOW}{periods_at(at, zone).starts[0]}"
