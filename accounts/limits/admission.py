"""Whether a request is within the limits of its key and of its key's team, which are counted in Redis."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from redis import ResponseError

from accounts.keys.keyring import Caller
from accounts.limits.admitted import UNLIMITED, Admission, HoldsNothing
from accounts.limits.alone import LocalCounter, Refusal
from accounts.limits.breaker import SLOW_SEC, Breaker
from accounts.limits.counters import CallerCounters, Counters, Held, LimitState, ScopeId, Scopes, Seen
from accounts.limits.ledger_budgets import LedgerBudgets
from accounts.limits.scripts import ADMIT, EXTEND, MISSING, SETTLE, numbers_of
from accounts.limits.settlements import Settlement, Settlements
from accounts.patterns import allows
from gateway_project.lib.redis import redis_keys
from gateway_project.lib.redis.redis_link import Arg, RedisLink, RedisUnavailable, Reply, is_unknown

# Three times within a lease: a renewal or two that are late cost no place.
RENEW = 1.5
FIRST_ANSWER = 256  # tokens that are reserved for the answer to a key that has had none lately
MOST_ANSWERS = 4096  # keys whose answers are remembered
MOST_COUNTERS = 20_000  # keys and teams whose names in Redis are kept

SCRIPTS: Final = (ADMIT, SETTLE)
"""Loaded together: a turn is settled before the next one is counted."""
TURN: Final = range(9)
COUNT: Final = range(1)
"""Indexes in LIMITS of what a turn, and a request that asks no service, must be within."""


class LimitExceeded(Exception):
    """A limit is used up: `state` says which and how it stands. `retry_after` is whole seconds from 1 on."""

    def __init__(self, state: LimitState, retry_after: float, seen: Seen) -> None:
        super().__init__(f"{state.name} of {state.limit} per {state.scope}")
        self.state = state
        self.retry_after = max(1, int(retry_after + 0.999))
        self.seen = seen


def may_use(caller: Caller, *names: str) -> bool:
    """Whether the key's list of models, where it has one, allows a model that goes by these names."""
    return caller.models is None or allows(caller.models, names)


class Limits:
    """Admits requests of one process. While Redis is away or slow each of so many `processes` counts for itself.

    A turn holds its place, and the tokens reserved for it, as long as its process renews the lease. What a process that
    died held is free when that ends.
    """

    def __init__(self, link: RedisLink, processes: Callable[[], int] = lambda: 1) -> None:
        self._link = link
        self._breaker = Breaker(link)
        self._processes = processes
        self._counters: dict[int, CallerCounters] = {}
        """By key."""
        self._local: dict[ScopeId, LocalCounter] = {}
        self._last: dict[ScopeId, Sequence[int]] = {}
        """What Redis last had of keys and teams with budgets."""
        self._outage = 1
        self._is_outage = False
        """This process has counted by itself since Redis was last heard of."""
        self._held: Held = {}
        self._answers: dict[int, float] = {}
        """Tokens of an answer to each key, a moving average; the key that was answered last is the last."""
        self._renewing: asyncio.Task[None] | None = None
        self._lent: set[str] = set()
        """Turns that another process may have settled by now."""
        self._settlements = Settlements(link, self._start_renewing)
        self._budgets = LedgerBudgets(link)

    @property
    def unsettled_count(self) -> int:
        """Turns that have ended and are still to be settled."""
        return self._settlements.left

    def _counters_of(self, caller: Caller, at: float) -> CallerCounters:
        """Where the limits of this caller are counted at this moment."""
        found = self._counters.get(caller.key_id)
        # Compared, for a key that is read again has equal limits of its own.
        if found is None or not found.since <= at < found.until or found.limits != caller.limits:
            if len(self._counters) >= MOST_COUNTERS:
                # All at once: to know which are old would cost each request something, and to make them anew costs
                # little.
                self._counters.clear()
                self._last.clear()
                self._held = {scope_id: held for scope_id, held in self._held.items() if held}
            found = self._counters[caller.key_id] = CallerCounters(caller.key_id, caller.limits, self._held, at)
        return found

    async def admit(
        self,
        caller: Caller,
        request_id: str,
        prompt: int = 0,
        longest: int | None = None,
        *,
        at: float | None = None,
        turn: bool = True,
    ) -> Admission:
        """Count this request, or raise LimitExceeded. A key without limits costs nothing.

        `prompt` are the tokens of the request, `longest` the most that the answer may have, if the client set a limit.
        Only a limit of tokens needs them. `at`: when the request began, by the clock. What is no turn asks no service:
        it counts for requests per minute only, and needs no release.
        """
        if not caller.limits:
            return UNLIMITED
        at = time.time() if at is None else at
        counters = self._counters_of(caller, at)
        known: int | None = None
        tokens = 0
        # Without a limit of tokens nothing is learnt about the length of answers.
        if turn and counters.counts_tokens:
            known, tokens = prompt, self._estimate(caller, prompt, longest)
        alone = False
        self._settlements.send_again()
        packed = counters.admission.packed("turn" if turn else "count", request_id, tokens, at)
        try:
            # A server that does not know the script is no failure yet; what `send_again` raises is for the outer one.
            try:
                reply = await self._breaker.send(packed)
            except ResponseError as exc:
                reply = await self._breaker.send_again(packed, SCRIPTS, exc)
        except asyncio.CancelledError:
            # It may have been counted, and nobody is left to give its place back.
            _Turn(None, self, caller.key_id, counters, request_id, None, at, alone=False).release()
            raise
        except (RedisUnavailable, ResponseError):
            seen, alone = self._admit_alone(counters.counters, tokens, at, TURN if turn else COUNT), True
        else:
            seen = self._seen(reply, counters)
        if not turn or not (alone or counters.is_held):
            return HoldsNothing(seen)
        if self._counters.get(caller.key_id) is not counters:
            # They were forgotten meanwhile: what is held in those would not be renewed.
            counters = self._counters_of(caller, at)
        for held in counters.held:
            held[request_id] = tokens
        self._start_renewing()
        return _Turn(seen, self, caller.key_id, counters, request_id, known, at, alone=alone)

    def adopt(
        self, caller: Caller, request_id: str, prompt: int = 0, longest: int | None = None, *, at: float
    ) -> Admission:
        """The admission of a turn that another process has admitted: it is renewed and released here from now on.

        Nothing is counted. The arguments are those of `admit`.
        """
        if not caller.limits:
            return UNLIMITED
        counters = self._counters_of(caller, at)
        if not counters.is_held:
            return UNLIMITED
        known, tokens = (prompt, self._estimate(caller, prompt, longest)) if counters.counts_tokens else (None, 0)
        self._lent.discard(request_id)
        for held in counters.held:
            held[request_id] = tokens
        self._start_renewing()
        return _Turn(None, self, caller.key_id, counters, request_id, known, at, alone=False)

    def lend(self, request_id: str) -> None:
        """From now on its lease is renewed as long as there is one, but never made anew."""
        self._lent.add(request_id)

    def take_back(self, request_id: str) -> None:
        self._lent.discard(request_id)

    def leave(self, counters: CallerCounters, request_id: str) -> None:
        """The turn is another process's to renew and to settle, or has ended."""
        self._lent.discard(request_id)
        for held in counters.held:
            held.pop(request_id, None)

    async def look_closely(self, caller: Caller) -> Seen:
        """As `look`; waits some seconds at most for what only the ledger knows yet of budgets."""
        seen = await self.look(caller)
        return await self._budgets.shown(await self.look(caller) if await self._budgets.completed_alone() else seen)

    async def look(self, caller: Caller) -> Seen:
        """The caller's limits as they stand, with nothing counted; by this process's own counts while Redis is away."""
        at = time.time()
        counters = self._counters_of(caller, at)
        packed = counters.admission.packed("look", "", 0, at)
        try:
            try:
                reply = await self._breaker.send(packed)
            except ResponseError as exc:
                reply = await self._breaker.send_again(packed, SCRIPTS, exc)
        except (RedisUnavailable, ResponseError):
            return self._seen_alone(counters.counters, at)
        return self._seen(reply, counters)

    def _seen(self, packed: bytes, counters: CallerCounters) -> Seen:
        if self._is_outage:
            self._outage, self._is_outage = self._outage + 1, False
        reply = numbers_of(packed)
        # The clock's time now: the request may have begun long before it was read.
        seen = Seen(counters.counters, reply[3:], time.time())
        for each, part in counters.budgets:
            # Kept for the time when Redis is away: `_local_counter` begins with them.
            self._last[each.scope_id] = numbers = seen.numbers[part]
            if numbers[MISSING]:
                self._budgets.complete(each, numbers[MISSING])
        if reply[0] >= 0:
            # Of the script's limits the first is 1, of LIMITS it is 0.
            raise LimitExceeded(seen.state(reply[0], reply[1] - 1), reply[2] / 1000, seen)
        return seen

    def _admit_alone(self, counters: Scopes, tokens: int, at: float, indexes: Sequence[int]) -> Seen:
        """Count it in this process, which has its share of each limit."""
        now = time.monotonic()
        worst: tuple[int, Refusal] | None = None
        for number, each in enumerate(counters):
            held = self._held.get(each.scope_id, {})
            refusal = self._local_counter(each).refusal(each, indexes, tokens, held, now, at)
            if refusal and (worst is None or refusal.wait > worst[1].wait):
                worst = number, refusal
        if worst is not None:
            number, refusal = worst
            seen = self._seen_alone(counters, at)
            raise LimitExceeded(seen.state(number, refusal.limit), refusal.wait, seen)
        # Last: a request that one limit refuses is not counted for the others.
        for each in counters:
            self._local_counter(each).count(each, now, turn=indexes is TURN)
        return self._seen_alone(counters, at)

    def _seen_alone(self, counters: Scopes, at: float) -> Seen:
        now, numbers, shares = time.monotonic(), [], []
        for each in counters:
            local, held = self._local_counter(each), self._held.get(each.scope_id, {})
            self._budgets.complete_alone(each, local)
            numbers += local.numbers(each, held, now)
            shares.append(each.shared(local.shares(each), at))
        return Seen(Scopes(shares), numbers, time.time())

    def _local_counter(self, counters: Counters) -> LocalCounter:
        local = self._local.get(counters.scope_id)
        if local is None:
            if len(self._local) >= MOST_COUNTERS:
                self._local.clear()
            local = self._local[counters.scope_id] = LocalCounter(self._processes)
        elif local.outage != self._outage:
            local.begin()
        local.outage, self._is_outage = self._outage, True
        # Once: what this process counts by itself from here on comes on top of them.
        if numbers := self._last.pop(counters.scope_id, None):
            local.learn(counters, numbers)
        return local

    def _estimate(self, caller: Caller, prompt: int, longest: int | None) -> int:
        answer = self._answers.get(caller.key_id, FIRST_ANSWER)
        return round(prompt + (answer if longest is None else min(answer, longest)))

    def record_answer(self, key_id: int, tokens: int) -> None:
        """Remember the length of an answer: the estimate for the next ones of this key."""
        # Taken out and put back, so that the first of the dict is the key without answers for longest.
        average = self._answers.pop(key_id, None)
        # A fifth: what a key asks for changes within some requests, and a single long answer must not decide.
        self._answers[key_id] = tokens if average is None else average + (tokens - average) * 0.2
        if len(self._answers) > MOST_ANSWERS:
            del self._answers[next(iter(self._answers))]

    def settle(self, counters: CallerCounters, settlement: Settlement, reply: Reply) -> None:
        """End the request's lease and count its tokens. `reply` takes the time by the clock of Redis, or the problem.

        In one write with whatever else is sent to Redis in this turn of the loop.
        """
        # From here on `_renew_leases` must not renew what has ended.
        self.leave(counters, settlement[0])
        self._settlements.send(counters, settlement, reply)

    def settling_failed(
        self, counters: CallerCounters, settlement: Settlement, problem: Exception, reply: Reply
    ) -> bool:
        """Return whether it is put off until Redis is there; else it is sent once more."""
        return self._settlements.failed(counters, settlement, problem, reply)

    @property
    def is_alone(self) -> bool:
        """Redis is too slow to be asked: it gets what ends, but this process enforces the limits by its own counts."""
        return self._breaker.is_open

    def spend_here(self, counters: CallerCounters, tokens: int) -> None:
        """Count tokens in this process too, which enforces the limits alone, or may have to for a while."""
        for each in counters.counters:
            self._local_counter(each).spend(each, tokens, time.monotonic())

    async def settled(self) -> None:
        """Wait until what was released before is counted, or put off."""
        with suppress(RedisUnavailable, ResponseError):
            # Replies come in order. What is sent once more, as its script was unknown, is behind the first of these.
            await self._link.execute("PING")
            await self._link.execute("PING")

    async def amend(
        self, counters: CallerCounters, request_id: str, difference: int, at: float, settled_at: int
    ) -> None:
        """Count so many tokens more, or fewer, of a turn that was settled at that time, 0 if that is not known."""
        # In the order of a settlement: what is "again" there says that it is late, and the last one when it was
        # settled.
        self._settlements.amend(counters, [request_id, difference, "late", at, settled_at])

    def _start_renewing(self) -> None:
        if self._renewing is None or self._renewing.done():
            self._renewing = asyncio.get_running_loop().create_task(self._renew_leases())

    async def _renew_leases(self) -> None:
        # Ends when there is nothing left; `_start_renewing` begins anew with the next turn.
        while any(self._held.values()) or self._settlements.left:
            await asyncio.sleep(RENEW)
            # While Redis is away leases cannot be renewed; EXTEND restores them when it is there again.
            with suppress(RedisUnavailable, ResponseError):
                for scope_id, held in [each for each in self._held.items() if each[1]]:
                    await self._renew(scope_id, held)
                await self._settlements.send_all()

    async def _renew(self, scope_id: ScopeId, held: dict[str, int]) -> None:
        try:
            await self._link.execute("EVALSHA", EXTEND.sha, *self._renewal(scope_id, held))
        except ResponseError as exc:
            if not is_unknown(exc):
                raise
            await self._link.execute("SCRIPT", "LOAD", EXTEND.text)
            # Looked at anew: what has been settled meanwhile would hold its place again.
            await self._link.execute("EVALSHA", EXTEND.sha, *self._renewal(scope_id, held))

    def _renewal(self, scope_id: ScopeId, held: dict[str, int]) -> list[Arg]:
        """Keys and arguments of EXTEND, as they are at this moment."""
        own = sorted(held.keys() - self._lent)
        # Of its four names those of the turns and of what is reserved for them.
        return [2, *redis_keys.limits(*scope_id)[2:], len(own), *own, *sorted(held.keys() & self._lent)]


class _Turn:
    """A turn that was counted. It takes the reply to its settlement by itself: a task for that costs 10 µs."""

    __slots__ = (
        "_alone", "_at", "_counters", "_is_spent_here", "_key_id", "_limits", "_prompt", "_request_id",
        "_settled_at", "_settlement", "_waiter", "is_ending", "seen",
    )  # fmt: skip

    def __init__(
        self,
        seen: Seen | None,
        limits: Limits,
        key_id: int,
        counters: CallerCounters,
        request_id: str,
        prompt: int | None,
        at: float,
        *,
        alone: bool,
    ) -> None:
        self.seen = seen
        self._limits = limits
        self._key_id = key_id
        self._counters = counters
        self._request_id = request_id
        self._prompt = prompt
        self._at = at
        self._alone = alone
        # Empty until the end, so it also says that the turn was neither released nor left.
        self._settlement: Settlement = []
        self._settled_at = 0
        self._is_spent_here = False
        self._waiter: asyncio.Future[None] | None = None
        self.is_ending = False

    def release(self, tokens: int = 0) -> None:
        if self._settlement:
            return
        self._settlement = [self._request_id, tokens, "", self._at, "alone" if self._alone else ""]
        if self._prompt is not None and tokens > self._prompt:  # else there was no answer
            self._limits.record_answer(self._key_id, tokens - self._prompt)
        self.is_ending = True
        if self._limits.is_alone:
            # At once: a slow answer may take as long as many turns.
            self._spend_here()
        self._limits.settle(self._counters, self._settlement, self)

    @property
    def is_shared(self) -> bool:
        return not self._alone

    def lend(self) -> None:
        self._limits.lend(self._request_id)

    def take_back(self) -> None:
        self._limits.take_back(self._request_id)

    def leave(self) -> None:
        if not self._settlement:
            self._settlement = [self._request_id, 0, "", self._at, ""]
            self._limits.leave(self._counters, self._request_id)

    # As of a Future: the link gives no reply to what is done, and this takes one in any case.
    def done(self) -> bool:
        return False

    def set_result(self, settled_at: int, /) -> None:
        self._settled_at = settled_at
        # Sent while Redis was quick, as it seemed: what it said last does not have this turn.
        if self._limits.is_alone:
            self._spend_here()
        self._end()

    def set_exception(self, problem: Exception, /) -> None:
        if self._limits.settling_failed(self._counters, self._settlement, problem, self):
            self._spend_here()
            self._end()

    def _spend_here(self) -> None:
        if not self._is_spent_here:
            self._is_spent_here = True
            self._limits.spend_here(self._counters, self._settlement[1])

    def _end(self) -> None:
        self.is_ending = False
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def ended(self) -> None:
        if self.is_ending:
            if self._waiter is None:
                self._waiter = asyncio.get_running_loop().create_future()
            await asyncio.wait({self._waiter}, timeout=SLOW_SEC)

    async def amend(self, difference: int) -> None:
        if difference:
            if self._is_spent_here:
                self._limits.spend_here(self._counters, difference)
            if not self._settled_at:
                await self._limits.settled()
            await self._limits.amend(self._counters, self._request_id, difference, self._at, self._settled_at)
