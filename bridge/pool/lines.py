"""The turns that wait for a place, a line for each key."""

from __future__ import annotations

from collections import deque
from typing import Generic, Protocol, TypeVar

from bridge.pool import policy
from bridge.pool.policy import Owner
from bridge.pool.shares import Shares


class Waiting(Protocol):
    """A turn that waits, and whose it is."""

    owner: Owner


W = TypeVar("W", bound=Waiting)


class Lines(Generic[W]):
    """First come, first served within a line; between lines the policy chooses."""

    def __init__(self, shares: Shares) -> None:
        self._shares = shares
        self._lines: dict[int, deque[W]] = {}
        self.count = 0

    def __len__(self) -> int:
        return self.count

    def of(self, key: int) -> int:
        """How many turns of this key wait."""
        return len(self._lines.get(key, ()))

    def by_key(self) -> dict[int, int]:
        """How many turns of each key wait."""
        return {key: len(line) for key, line in self._lines.items()}

    def add(self, waiter: W, *, first: bool = False) -> None:
        """Join the line of its key, at its end or in front."""
        line = self._lines.setdefault(waiter.owner.key, deque())
        (line.appendleft if first else line.append)(waiter)
        self.count += 1

    def first(self) -> W:
        """The turn that gets the next place. Not to be asked where nobody waits."""
        # Only the first of each line is looked at: the cost grows with the keys that wait and not with their turns.
        heads = [line[0] for line in self._lines.values()]
        if len(heads) == 1:
            return heads[0]
        return heads[policy.next_line([self._shares.line(head.owner) for head in heads])]

    def served(self, waiter: W) -> None:
        """The first of its line has been served."""
        line = self._lines[waiter.owner.key]
        line.popleft()
        self._left(waiter.owner.key, line)

    def remove(self, waiter: W) -> None:
        """Leave; nothing happens to one that does not wait."""
        line = self._lines.get(waiter.owner.key)
        # A waiter that was served in the same moment is not there any more.
        if line is None or waiter not in line:
            return
        line.remove(waiter)
        self._left(waiter.owner.key, line)

    def _left(self, key: int, line: deque[W]) -> None:
        self.count -= 1
        if not line:
            # `first` takes the head of each line, so an empty one must not stay.
            del self._lines[key]

    def everybody(self) -> list[W]:
        """All turns that wait, line by line, the longest waiting of each first."""
        return [waiter for line in self._lines.values() for waiter in line]

    def clear(self) -> list[W]:
        """Everybody leaves; who that was."""
        everybody = self.everybody()
        self._lines.clear()
        self.count = 0
        return everybody
