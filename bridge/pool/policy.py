"""Who takes the turn: a function from what is known of the instances to a choice."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

import msgspec

from gateway_project.lib.backoff import growing


class InstanceLoad(Protocol):
    """What the choice needs to know of one instance."""

    @property
    def name(self) -> str:
        """As in `Affinity`."""

    @property
    def generation(self) -> int:
        """The same."""

    @property
    def in_flight(self) -> int:
        """Turns it has."""

    @property
    def has_room(self) -> bool:
        """It could take a turn now."""


class Candidate(msgspec.Struct, frozen=True):
    """An instance as it is at this moment, for those who want to see another one in its place."""

    name: str
    generation: int
    ready: bool
    in_flight: int
    limit: int

    @property
    def has_room(self) -> bool:
        """It could take a turn now."""
        return self.ready and self.in_flight < self.limit


class Affinity(msgspec.Struct, frozen=True):
    """The instance that holds the session; another run of it does not hold it any more."""

    name: str
    generation: int


def choose(
    candidates: Sequence[InstanceLoad], affinity: Affinity | None, excluded: Collection[str], last: int
) -> int | None:
    """The index of the instance that takes the turn, or None when none has room (PROTOCOL 17.7).

    Affinity first, then least in flight, then round robin: `last` is the index chosen before. Instances that failed
    this turn already (`excluded`) come only when there is no other.
    """
    # With one instance, as most gateways have, there is nothing to choose.
    if len(candidates) == 1:
        return 0 if candidates[0].has_room else None
    open_ = [index for index, each in enumerate(candidates) if each.has_room]
    if affinity is not None:
        for index in open_:
            # The generation too: an instance that was started again has lost its sessions (PROTOCOL 9.8).
            if candidates[index].name == affinity.name and candidates[index].generation == affinity.generation:
                return index
    # An instance that failed once is better than no answer at all.
    fresh = [index for index in open_ if candidates[index].name not in excluded] or open_
    if len(fresh) < 2:
        return fresh[0] if fresh else None
    count = len(candidates)
    # The modulus makes the one after `last` the smallest among equals.
    return min(fresh, key=lambda index: (candidates[index].in_flight, (index - last - 1) % count))


class Owner(msgspec.Struct, frozen=True):
    """Whose turn it is. Places are shared between keys, and between teams where keys are equal."""

    key: int = 0
    team_id: int = 0


class Line(msgspec.Struct, frozen=True):
    """The turns of one key that wait: the places its key and its team hold, in all web processes, and when it got one.

    `served` grows with every place that is given, and is 0 for a key that has had none lately.
    """

    held: int
    held_by_team: int
    served: int = 0


def next_line(lines: Sequence[Line]) -> int:
    """The index of the line whose first turn takes the place that has become free.

    The key that holds the fewest places, then the team that does; equals take turns.
    """
    # The order of the fields of `Line` is the order of the comparison.
    return min(range(len(lines)), key=lambda index: msgspec.structs.astuple(lines[index]))


def goes_first(other: Line, ours: Line) -> bool:
    """True: a place that has become free here goes to the turn that waits in another process."""
    # Strictly fewer: among equals the own turn goes first, or two processes would pass places back and forth.
    # `served` counts within one process and cannot be compared.
    return (other.held, other.held_by_team) < (ours.held, ours.held_by_team)


def may_wait(waiting_of_key: int, waiting: int, most: int) -> bool:
    """Whether one more turn of a key may join the queue: as long as its key has fewer there than places are left.

    So one key alone fills half of the queue, two of them three quarters, and there is room for whoever comes next.
    """
    return waiting_of_key < most - waiting


def restart_delay(failures: int, jitter: float) -> float:
    """Seconds to wait before the next start: 0.5, 1, 2, 4 … at most 30, each up to a quarter longer.

    `jitter` is a random number from 0 to 1.
    """
    return growing(0.5, failures - 1, 30.0, jitter)


def breaker_pause(pauses: int, jitter: float) -> float:
    """Seconds for which nothing is asked, for so many pauses in a row: 1, 2, 4 …, each up to a quarter longer.

    `jitter` is from 0 to 1.
    """
    return growing(1.0, pauses - 1, 4096.0, jitter)


def replacement_pause(failures: int, jitter: float) -> float:
    """Seconds to wait before a successor is tried again: 5, 10, 20 … at most 600, each up to a quarter longer."""
    return growing(5.0, failures - 1, 600.0, jitter)


def retry_after(waiting: int, slots: int, turn_sec: float, jitter: float) -> int:
    """Whole seconds from 1 to 30 after which a refused turn may hope for a place.

    Different for each refused client, or they would all come back at once. `jitter` is from 0 to 1.
    """
    expected = turn_sec * (waiting + 1) / max(1, slots)
    return max(1, min(30, round(expected * (0.5 + jitter) + 4 * jitter)))
