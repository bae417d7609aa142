"""The turns that wait for a place, and who is served when one is free."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

from bridge.pool import policy
from bridge.pool.careful import Careful
from bridge.pool.lease import Lease, Waiter
from bridge.pool.lines import Lines
from bridge.pool.members import Members
from bridge.pool.places import Places
from bridge.pool.policy import Affinity, Line, Owner


class TurnQueue:
    """Turns in doubt come first, if it is not the others' turn; of those, keys take turns, also across processes."""

    def __init__(self, members: Members, places: Places) -> None:
        self._members = members
        self._places = places
        self.lines: Lines[Waiter] = Lines(places.shares)
        self._careful: Careful[Waiter] = Careful(self.serve)
        places.shares.waiting_here = self.by_key
        places.on_release = self._on_release

    @property
    def waiting(self) -> int:
        return self.lines.count + len(self._careful.waiting)

    def of(self, key: int) -> int:
        """How many turns of this key wait."""
        return self.lines.of(key) + self._careful.of(key)

    def by_key(self) -> dict[int, int]:
        """How many turns of each key wait."""
        return Counter(self.lines.by_key()) + Counter(each.owner.key for each in self._careful.waiting)

    def next_line(self) -> Line:
        """The line whose turn is the next to get a place."""
        return self._places.shares.line(self.lines.first().owner) if self.lines.count else Line(0, 0)

    def take(self, affinity: Affinity | None, excluded: Collection[str], owner: Owner | None) -> Lease | None:
        """A place for a turn that is not in doubt, whoever waits."""
        # The usual turn is chosen from the instances themselves: no object is made for each of them.
        candidates: Sequence[policy.InstanceLoad] = self._members.instances
        if self._careful.holds:
            candidates = self._careful.open([instance.candidate for instance in self._members.instances])
        return self._places.take(candidates, affinity, excluded, owner)

    def add(self, waiter: Waiter, *, first: bool = False) -> None:
        """Wait in the line of its key, at its end or in front."""
        self.lines.add(waiter, first=first)
        self._members.siblings.waiting_changed()

    def add_careful(self, waiter: Waiter) -> None:
        self._careful.add(waiter)
        self.serve()

    def remove(self, waiter: Waiter) -> None:
        """Leave; nothing happens to one that does not wait."""
        if waiter.care:
            self._careful.remove(waiter)
        else:
            self.lines.remove(waiter)
            self._members.siblings.waiting_changed()

    def pop(self) -> Waiter | None:
        """The next of those that are not in doubt."""
        if not self.lines.count:
            return None
        waiter = self.lines.first()
        self.lines.served(waiter)
        self._members.siblings.waiting_changed()
        return waiter

    def everybody(self) -> list[Waiter]:
        return [*self.lines.everybody(), *self._careful.waiting]

    def clear(self) -> list[Waiter]:
        """Everybody leaves; who that was."""
        return [*self.lines.clear(), *self._careful.clear()]

    def serve(self) -> None:
        """Give places to those who wait, as far as there are any."""
        # Holds that are over go first: what follows must see which instances are open.
        self._careful.release(self._members.instances)
        # So turns in doubt cannot keep the others out for long: after their time the lines are served once before
        # them.
        if self._careful.gives_way:
            self._serve_lines()
            self._careful.others_had_their_turn()
        # A copy: whoever is served leaves the list.
        for waiter in self._careful.waiting.copy():
            self._serve_careful(waiter)
        self._serve_lines()
        self._careful.rest()

    def _on_release(self) -> None:
        # With an empty queue the place may still help another process.
        if self.lines.count or self._careful.waiting or self._careful.holds:
            self.serve()
        else:
            self._members.siblings.serve()

    def _serve_lines(self) -> None:
        """In turn to keys, those of other processes included."""
        while True:
            # Before each own turn, as the next place may belong to a key that waits elsewhere.
            self._members.siblings.serve()
            if not self.lines.count:
                return
            first = self.lines.first()
            lease = self.take(first.affinity, first.excluded, first.owner)
            if lease is None:
                return
            # Out of the line before the lease is set: whoever gets it may ask for more at once.
            self.lines.served(first)
            first.lease.set_result(lease)
            self._members.siblings.waiting_changed()

    def _serve_careful(self, waiter: Waiter) -> None:
        if self._places.is_full:
            return None
        instances = self._members.instances
        candidates = [instance.candidate for instance in instances]
        fitting = self._careful.fitting(waiter, instances, candidates)
        lease = self._places.take(fitting, None, waiter.excluded, waiter.owner)
        if lease is None:
            # No instance is empty now: reserve one, so that it becomes so.
            return self._careful.reserve(waiter, instances, candidates)
        lease.in_doubt = True
        self._careful.began(waiter, lease.instance.name)
        return waiter.lease.set_result(lease)
