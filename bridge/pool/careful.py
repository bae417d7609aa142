"""Turns in doubt: the service exited while it answered them. Each is asked alone, as far as that can be had soon."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Generic, Protocol, TypeVar

import msgspec

from bridge.pool.policy import Candidate, Owner

WINDOW_SEC = 0.5
"""So long nothing begins on an instance that is kept for the first of a row of turns in doubt, or after it: the
likeliest has the longest time to show itself. Each of those behind it has half of what was left, so that a row of any
length takes hardly more than twice as long. What a service cannot read, it exits over in milliseconds."""
SHORTEST_SEC = 0.1
"""What is left for each when that is used up. From then on the others have their turn in between."""
ALONE_SEC = 10.0
"""So long nothing begins beside a turn that must be alone: others wait for it, and not as long as a reply may take."""
POLL_SEC = 0.02


class HeldInstance(Protocol):
    name: str
    in_flight: int

    @property
    def unanswered(self) -> int:
        """Turns there of whose reply nothing has come yet."""

    @property
    def is_in_doubt(self) -> bool:
        """One of them is itself in doubt, and was asked lately."""

    @property
    def is_coming_back(self) -> bool:
        """It has failed a moment ago, and comes back empty in a few seconds."""


class Doubtful(Protocol):
    owner: Owner
    care: int
    rank: float


W = TypeVar("W", bound=Doubtful)


class _Hold(msgspec.Struct):
    """An instance where nothing else begins: it is kept for the first of the line, or a turn has begun there."""

    care: int
    until: float
    reserved: bool


class Careful(Generic[W]):
    """The line of these turns, and the instances that are held for them. No other turn pays for it."""

    def __init__(self, serve: Callable[[], None]) -> None:
        self.waiting: list[W] = []
        self.holds: dict[str, _Hold] = {}
        self.gives_way = False
        """One of them was the last that began, and they have had their time: the others have their turn first."""
        self._spent_at = 0.0
        """When the row under way has used up its time; 0 while there is none."""
        self._given: dict[int, int] = {}
        """Places that each key has had since it began to wait here."""
        self._serve = serve
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None

    def of(self, key: int) -> int:
        """How many turns of this key wait here."""
        return sum(waiter.owner.key == key for waiter in self.waiting)

    def add(self, waiter: W) -> None:
        """Join: keys take turns; of one key, who was asked last before an exit comes first, the likeliest cause."""
        self.waiting.append(waiter)
        self._sort()
        # `serve` is called when a place is released. That a turn was answered is no such event, so it is looked for.
        self._poll_later()

    def _sort(self) -> None:
        # Counts of keys that left are dropped: the next time they begin at 0 again, like everybody.
        keys = {each.owner.key for each in self.waiting}
        self._given = {key: count for key, count in self._given.items() if key in keys}
        self.waiting.sort(key=lambda each: (self._given.get(each.owner.key, 0), each.rank))

    def remove(self, waiter: W) -> None:
        """Leave; nothing happens to one that does not wait."""
        if waiter in self.waiting:
            self.waiting.remove(waiter)
        # Nobody is left for whom an instance may be kept.
        if all(each.care > 1 for each in self.waiting):
            self._drop_reserved()

    def clear(self) -> list[W]:
        """Everybody leaves; who that was."""
        everybody, self.waiting = self.waiting, []
        self.holds.clear()
        return everybody

    def open(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """The candidates for all other turns."""
        # Closed by `ready`, so that the policy needs no rule for this.
        return [_closed(each) if each.name in self.holds else each for each in candidates]

    def fitting(self, waiter: W, places: Sequence[HeldInstance], candidates: Sequence[Candidate]) -> list[Candidate]:
        """The candidates for this turn: those without turns; if there are none, where it has waited long enough."""
        # The one that has just exited comes back empty: there the turn is alone, and a second exit proves something.
        is_patient = any(place.is_coming_back for place in places)
        fits = [self._fits(waiter, place, is_patient=is_patient) for place in places]
        # Also where that is the one that has failed it, which would be the last choice of any other turn.
        empty = [good and place.in_flight == 0 for good, place in zip(fits, places, strict=True)]
        if any(each.ready for is_empty, each in zip(empty, candidates, strict=True) if is_empty):
            fits = empty
        return [each if good else _closed(each) for good, each in zip(fits, candidates, strict=True)]

    def began(self, waiter: W, name: str) -> None:
        self.remove(waiter)
        key = waiter.owner.key
        self._given[key] = self._given.get(key, 0) + 1
        self._sort()
        now = self._loop.time()
        self.holds[name] = _Hold(waiter.care, now + (self._window() if waiter.care == 1 else ALONE_SEC), reserved=False)
        # After a turn that must be alone at once, else when the time of the row is used up.
        self.gives_way = waiter.care > 1 or now >= self._spent_at

    def reserve(self, waiter: W, places: Sequence[HeldInstance], candidates: Sequence[Candidate]) -> None:
        """Reserve an instance for it, the one with the fewest turns: they may end while nothing else begins.

        One alone for all who wait, and none for a turn that must be alone: that could take as long as a reply. Nor one
        where another in doubt is still silent: others may begin there meanwhile.
        """
        able = [each for place, each in zip(places, candidates, strict=True) if each.ready and not place.is_in_doubt]
        ready = {each.name for each in able}
        self.holds = {name: hold for name, hold in self.holds.items() if not hold.reserved or name in ready}
        # Only one is ever kept: with all instances kept, no other turn could begin.
        if waiter.care > 1 or any(hold.reserved for hold in self.holds.values()):
            return
        free = [each for each in able if each.name not in self.holds]
        if free:
            chosen = min(free, key=lambda each: each.in_flight)
            self.holds[chosen.name] = _Hold(waiter.care, self._loop.time() + self._window(), reserved=True)

    def release(self, places: Sequence[HeldInstance]) -> None:
        """Free the instances whose turn is not in doubt any more; the next of the row gets those that it needs."""
        for place in places:
            hold = self.holds.get(place.name)
            if hold is None or hold.reserved or not self._is_over(hold, place):
                continue
            # The instance goes straight to the next of the row, before other turns can begin there.
            if self._is_needed(place, places):
                self._drop_reserved()
                hold.reserved = True
                if not place.unanswered:  # it ends soon, maybe, and who comes next is alone
                    hold.until = self._loop.time() + self._window()
            else:
                del self.holds[place.name]

    def others_had_their_turn(self) -> None:
        """Unless they still could not have one, where one of these turns is alone."""
        self.gives_way = any(not hold.reserved for hold in self.holds.values())

    def rest(self) -> None:
        """All had their turn that could: the next row has its own time."""
        if not self.waiting and not self.holds:
            self._spent_at = 0.0

    def _is_needed(self, place: HeldInstance, places: Sequence[HeldInstance]) -> bool:
        """Whether a turn in doubt may come before all others, and has no better instance that is kept for it."""
        if self.gives_way or all(each.care > 1 for each in self.waiting):
            return False
        reserved = [each for each in places if each.name in self.holds and self.holds[each.name].reserved]
        return all(place.in_flight < each.in_flight for each in reserved)

    def _drop_reserved(self) -> None:
        self.holds = {name: hold for name, hold in self.holds.items() if not hold.reserved}

    def _window(self) -> float:
        now = self._loop.time()
        # Half of what is left, each time: 0.5 s, 0.25 s and so on, together hardly more than 1 s, until SHORTEST_SEC
        # is left for each.
        self._spent_at = self._spent_at or now + 2 * WINDOW_SEC
        return max(SHORTEST_SEC, (self._spent_at - now) / 2)

    def _is_over(self, hold: _Hold, place: HeldInstance) -> bool:
        # A turn that is in doubt once is harmless as soon as something of its reply came; one that must be alone,
        # when it has ended.
        done = place.in_flight == 0 if hold.care > 1 else place.unanswered == 0
        return done or self._loop.time() >= hold.until

    def _fits(self, waiter: W, place: HeldInstance, *, is_patient: bool) -> bool:
        hold = self.holds.get(place.name)
        if hold is not None and not hold.reserved:
            return False
        # An exit with two in doubt proves nothing, and the innocent one then counts as having been there twice.
        waited = hold is not None and self._loop.time() >= hold.until and not place.is_in_doubt
        return place.in_flight == 0 or (waited and waiter.care == 1 and not is_patient)

    def _poll_later(self) -> None:
        if self._timer is None:
            self._timer = self._loop.call_later(POLL_SEC, self._poll)

    def _poll(self) -> None:
        """Looked at by a timer: an event for the first piece of a reply would cost every turn."""
        self._timer = None
        self._serve()
        if self.waiting or self.holds:
            self._poll_later()


def _closed(candidate: Candidate) -> Candidate:
    return msgspec.structs.replace(candidate, ready=False)
