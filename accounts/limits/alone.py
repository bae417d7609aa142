"""What a process counts by itself while Redis is away or slow: it has its share of each limit."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from accounts.limits.counters import TOKENS, USE, Counters
from accounts.limits.scripts import MISSING, RESERVED, SEEN_EACH, WINDOW


class Refusal(NamedTuple):
    """A limit that refuses, by its index in LIMITS, and for how many seconds."""

    limit: int
    wait: float


class LocalCounter:
    """Requests and tokens of one key or team in this process."""

    def __init__(self, processes: Callable[[], int]) -> None:
        self._processes = processes
        self._requests: deque[float] = deque()
        self._tokens: deque[tuple[float, int]] = deque()
        self._known: dict[str, tuple[int, int]] = {}
        """Requests and tokens of periods as Redis had them at last."""
        self._counted: dict[str, tuple[int, int]] = {}
        """Those since then, of this process."""
        self._complete: set[str] = set()
        """Periods that lack nothing of what the ledger knows."""
        self.since = time.time()
        """When this process began to count by itself: for the first time, or anew (`begin`)."""
        self.outage = 0
        """In which outage it counted last."""

    def size(self, counters: Counters, index: int) -> int:
        """The share of a limit, of a budget the share of what was left of it."""
        size = counters.limits.sizes[index]
        # The first three of LIMITS slide. Behind them are the budgets: day, week
        # and month of requests, then those of tokens.
        if index < 3:
            # One at least: the share of a small limit among many processes must not refuse everything.
            return max(1, size // self._processes())
        known = self._of_period(self._known, counters, index)
        left = max(size - known, 0)
        return known + (max(1, left // self._processes()) if left else 0)

    def shares(self, counters: Counters) -> list[int]:
        """Those of all limits; 0 where there is none."""
        return [self.size(counters, index) if size else 0 for index, size in enumerate(counters.limits.sizes)]

    def used(self, counters: Counters, index: int, held: Mapping[str, int]) -> int:
        """Requests, tokens or turns that stand against the limit. `held`: turns here, with what each has reserved."""
        match index:
            case 0:
                return len(self._requests)
            case 1:
                # A turn that took less than it was counted with leaves the window before what was taken off.
                return max(sum(count for _, count in self._tokens), 0) + sum(held.values())
            case 2:
                return len(held)
        used = self._of_period(self._known, counters, index) + self._of_period(self._counted, counters, index)
        return used + sum(held.values()) if index > 5 else used

    @staticmethod
    def _of_period(counts: Mapping[str, tuple[int, int]], counters: Counters, index: int) -> int:
        # The names of the periods stand behind the four that slide.
        kind, period = divmod(index - 3, 3)
        return counts.get(counters.keys[4 + period], (0, 0))[kind]

    def refusal(
        self, counters: Counters, indexes: Sequence[int], tokens: int, held: Mapping[str, int], now: float, at: float
    ) -> Refusal | None:
        """The enforced limit at one of these indexes that refuses for longest. `now` is monotonic, `at` the clock's."""
        self._forget(now)
        refusals = []
        for index in indexes:
            if not counters.limits.sizes[index] or counters.shadow[index]:
                continue
            size, used = self.size(counters, index), self.used(counters, index, held)
            reserved = sum(held.values()) if index in TOKENS else 0
            # With nothing reserved one request may pass the limit: else a prompt larger than it could never be asked.
            if used >= size or (reserved and used + tokens > size):
                # What is reserved may be given back at any moment.
                only_reserved = reserved and used - reserved < size
                wait = 1 if only_reserved else self._wait(counters, index, size, now, at)
                refusals.append(Refusal(index, wait))
        return max(refusals, key=lambda refusal: refusal.wait, default=None)

    def _wait(self, counters: Counters, index: int, size: int, now: float, at: float) -> float:
        match index:
            case 0:
                # When this one leaves the window, `size - 1` are left in it.
                return self._requests[-size] + WINDOW - now
            case 1:
                return self._wait_for_tokens(size, now)
            case 2:
                return 1
        return counters.ends[(index - 3) % 3] - at

    def _wait_for_tokens(self, size: int, now: float) -> float:
        spent, wait = sum(count for _, count in self._tokens), 1.0
        for spent_at, count in self._tokens:
            if spent < size:
                break
            spent, wait = spent - count, spent_at + WINDOW - now
        return wait

    def count(self, counters: Counters, now: float, *, turn: bool) -> None:
        """Count a request that was admitted."""
        self._requests.append(now)
        if turn:
            self._add(counters, 1, 0)

    def spend(self, counters: Counters, tokens: int, now: float) -> None:
        """Count the tokens of a turn that has ended; negative ones, if it took fewer than were counted."""
        self._forget(now)
        if tokens:
            self._tokens.append((now, tokens))
            self._add(counters, 0, tokens)

    def _add(self, counters: Counters, requests: int, tokens: int) -> None:
        for name in counters.keys[4:]:
            counted = self._counted.get(name, (0, 0))
            self._counted[name] = counted[0] + requests, counted[1] + tokens

    def _forget(self, now: float) -> None:
        while self._requests and self._requests[0] <= now - WINDOW:
            self._requests.popleft()
        while self._tokens and self._tokens[0][0] <= now - WINDOW:
            self._tokens.popleft()

    def begin(self) -> None:
        """Redis was there meanwhile, and others have spent: what was known of periods is old."""
        self.since = time.time()
        self._known.clear()
        self._counted.clear()
        self._complete.clear()

    def learn(self, counters: Counters, numbers: Sequence[int]) -> None:
        """Take over what Redis had, the numbers of this scope, when it was last asked."""
        self.begin()
        # The numbers of a scope are in the order of the script's reply.
        names = counters.keys[4:]
        self._known = dict(zip(names, zip(numbers[5:8], numbers[8:11], strict=True), strict=True))
        self._complete = {name for period, name in enumerate(names) if not numbers[MISSING] >> period & 1}

    def lacking(self, counters: Counters) -> list[tuple[str, int]]:
        """Names and starts of the periods with a budget of which Redis had not said everything."""
        sizes, periods = counters.limits.sizes, zip(counters.keys[4:], counters.starts, strict=True)
        return [
            (name, start)
            for period, (name, start) in enumerate(periods)
            if name not in self._complete and (sizes[3 + period] or sizes[6 + period])
        ]

    def complete(self, name: str, requests: int, tokens: int) -> None:
        """Take over what the ledger knows of a period until `since`."""
        known = self._known.get(name, (0, 0))
        # Redis may have counted what the ledger has not got yet.
        self._known[name] = max(known[0], requests), max(known[1], tokens)
        self._complete.add(name)

    def numbers(self, counters: Counters, held: Mapping[str, int], now: float) -> list[int]:
        """In the order in which the script has them, for the headers of answers."""
        self._forget(now)
        numbers = [0] * SEEN_EACH
        for index, number in enumerate(USE):
            numbers[number] = self.used(counters, index, held)
        if self._requests:
            numbers[1] = round((self._requests[-1] + WINDOW - now) * 1000)
        if self._tokens or held:
            numbers[3] = round((WINDOW if held else self._tokens[-1][0] + WINDOW - now) * 1000)
        numbers[RESERVED] = sum(held.values())
        return numbers
