"""Who holds the places, and who waits for one: what a fair choice between keys needs to know."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Mapping
from typing import TypeVar

import msgspec

from bridge.pool.policy import Line, Owner

MOST_REMEMBERED = 4096  # keys that were given a place

K = TypeVar("K", bound=Hashable)


class Held(msgspec.Struct, omit_defaults=True):
    """Places that turns hold, by key and by team; each web process sends its own to the others."""

    keys: dict[int, int] = {}
    teams: dict[int, int] = {}
    waiting: dict[int, int] = {}
    """Turns that wait for one, by key."""


class Shares:
    """The places that keys and teams hold: in this process exactly, in the others as last reported."""

    def __init__(self) -> None:
        self.here = Held()
        self.waiting_here: Callable[[], dict[int, int]] = dict
        """Turns of this process that wait, by key."""
        self._elsewhere = Held()
        self._served: dict[int, int] = {}
        self._given = 0

    def take(self, owner: Owner) -> None:
        """A turn of this owner has got a place."""
        key, keys, served = owner.key, self.here.keys, self._served
        keys[key] = keys.get(key, 0) + 1
        # Keys that hold equally many take turns: who got a place longest ago comes first.
        self._given += 1
        # Out and in again keeps the dict in the order of service, so the oldest can be dropped.
        served.pop(key, None)
        served[key] = self._given
        if len(served) > MOST_REMEMBERED:
            del served[next(iter(served))]
        # 0 is "no team": such keys must not share one.
        if owner.team_id:
            teams = self.here.teams
            teams[owner.team_id] = teams.get(owner.team_id, 0) + 1

    def give_back(self, owner: Owner) -> None:
        _less(self.here.keys, owner.key)
        if owner.team_id:
            _less(self.here.teams, owner.team_id)

    def update_others(self, others: list[Held]) -> None:
        """Put these reports in the place of the last ones: what each other process holds now."""
        keys: list[Mapping[int, int]] = [each.keys for each in others]
        teams: list[Mapping[int, int]] = [each.teams for each in others]
        waiting: list[Mapping[int, int]] = [each.waiting for each in others]
        # Replaced and not added: each report is whole, so a lost one corrects itself.
        self._elsewhere = Held(_sum(keys), _sum(teams), _sum(waiting))

    def report(self) -> Held:
        """The report to other processes: places held by each key and team here, and turns of each key that wait."""
        return Held(self.here.keys, self.here.teams, self.waiting_here())

    @property
    def waiting_elsewhere(self) -> Mapping[int, int]:
        """Turns of the other processes that wait, by key, as last reported."""
        return self._elsewhere.waiting

    def line(self, owner: Owner) -> Line:
        """Places that the owner's key and team hold in all processes. A key without a team is a team of its own."""
        held = self.here.keys.get(owner.key, 0) + self._elsewhere.keys.get(owner.key, 0)
        served = self._served.get(owner.key, 0)
        # Otherwise a key without a team would always look poorer than any team.
        if not owner.team_id:
            return Line(held, held, served)
        return Line(held, self.here.teams.get(owner.team_id, 0) + self._elsewhere.teams.get(owner.team_id, 0), served)


def _less(held: dict[K, int], name: K) -> None:
    left = held.get(name, 0) - 1
    # An empty entry goes, or the table would grow with every key there ever was.
    if left > 0:
        held[name] = left
    else:
        held.pop(name, None)


def _sum(all_held: list[Mapping[K, int]]) -> dict[K, int]:
    total: Counter[K] = Counter()
    for held in all_held:
        total.update(held)
    return dict(total)
