"""Pauses that grow: after each failure twice as long, up to a bound. Pure."""

from __future__ import annotations

from typing import Final

_MOST_DOUBLINGS: Final = 30  # keeps the power small, however long something fails


def growing(first: float, doublings: int, longest: float, jitter: float = 0.0) -> float:
    """`first` doubled so often, at most `longest`, and up to a quarter longer. All in seconds.

    `jitter` is a random number from 0 to 1, where many would otherwise come back at the same moment.
    """
    return min(longest, first * 2.0 ** max(0, min(doublings, _MOST_DOUBLINGS))) * (1 + jitter / 4)
