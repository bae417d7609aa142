"""The turns that run in this process and have taken a moment: the live page lists them. A leaf."""

from __future__ import annotations

from heapq import nsmallest
from typing import Protocol

from bridge.status.live import MOST_TURNS, LiveKey, LiveTurn


class Running(Protocol):
    """A turn that can say how far it is."""

    def live(self) -> LiveTurn | None:
        """None: another process runs it, and lists it."""


class RunningTurns:
    """Adding and removing is all that a turn pays for it; the rest is done when somebody looks."""

    def __init__(self) -> None:
        self._turns: set[Running] = set()

    def add(self, turn: Running) -> None:
        self._turns.add(turn)

    def remove(self, turn: Running) -> None:
        self._turns.discard(turn)

    def look(self) -> tuple[list[LiveTurn], list[LiveKey]]:
        """The turns that run for longest, and the keys whose turns wait for a place."""
        turns = [turn for each in self._turns if (turn := each.live()) is not None]
        return nsmallest(MOST_TURNS, turns, key=lambda each: each.started_at), _waiting(turns)


def _waiting(turns: list[LiveTurn]) -> list[LiveKey]:
    by_key: dict[int, list[LiveTurn]] = {}
    for each in turns:
        if not each.instance:
            by_key.setdefault(each.key, []).append(each)
    found = [
        LiveKey(key, those[0].key_name, len(those), min(each.started_at for each in those))
        for key, those in by_key.items()
    ]
    return nsmallest(MOST_TURNS, found, key=lambda each: -each.waiting)
