"""How long an instance is full: a spell that lasts goes into its timeline, once when it begins and once at its end.

Whether it is full right now is part of its status. A pool at its limit changes that hundreds of times a second, so
here it is looked at once a second, and turns pay nothing for it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Final

from bridge.pool.instances.instance import Instance
from bridge.pool.members import Members
from bridge.status.transitions import TransitionReason
from gateway_project.lib.background import pause

EVERY_SEC: Final = 1.0
FULL_SEC: Final = 2.0
"""Full at each look for so long: not only a burst that is over before anybody could see it."""
ROOM_SEC: Final = 10.0
"""With room at each look for so long: else a pool near its limit would fill the timeline."""


class Spell:
    """Pure: `look()` says when a spell begins or ends, and since when."""

    def __init__(self) -> None:
        self._is_on = False
        self._began_at = 0.0
        self._since: float | None = None
        """Since when it has been the other way at each look."""

    def look(self, now: float, *, is_full: bool) -> tuple[TransitionReason, float, float] | None:
        """FULL or ROOM, since when (Unix seconds), and for ROOM how many seconds it was full. None: nothing new."""
        if is_full is self._is_on:
            self._since = None
            return None
        if self._since is None:
            self._since = now
        since = self._since
        if now - since < (FULL_SEC if is_full else ROOM_SEC):
            return None
        self._is_on, self._since = is_full, None
        if is_full:
            self._began_at = since
            return TransitionReason.FULL, since, 0.0
        return TransitionReason.ROOM, since, since - self._began_at


class Busy:
    """`follow()` looks at the instances of this process until it is cancelled."""

    def __init__(self, members: Members) -> None:
        self._members = members
        self._spells: dict[tuple[str, float], Spell] = {}
        """By the instance and since when it takes turns: a spell is over, without a word, when it does not any more."""

    async def follow(self) -> None:
        while True:
            self.look(time.time())
            await pause(EVERY_SEC)

    def look(self, now: float) -> None:
        """Once; `now` in Unix seconds."""
        for instance, spell in self._of_each():
            if (found := spell.look(now, is_full=instance.is_full)) is not None:
                why, at, lasted = found
                instance.note(why, f"{lasted:.0f} s" if lasted else "", at)

    def _of_each(self) -> Iterator[tuple[Instance, Spell]]:
        before, self._spells = self._spells, {}
        for each in self._members.instances:
            if each.is_ready:
                key = each.name, each.state_since
                self._spells[key] = before.get(key) or Spell()
                yield each, self._spells[key]
