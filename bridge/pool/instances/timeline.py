"""What has happened to an instance, until it is written where others can read it."""

from __future__ import annotations

import time
from collections import deque

from bridge.status.states import InstanceState
from bridge.status.transitions import LONGEST_DETAIL, MOST, Transition, TransitionReason


class Timeline:
    """The latest transitions that nobody has taken away yet."""

    def __init__(self) -> None:
        self._pending: deque[Transition] = deque(maxlen=MOST)

    def note(
        self,
        state: InstanceState,
        why: TransitionReason,
        detail: str = "",
        generation: int = 0,
        at: float | None = None,
    ) -> None:
        """`at`, in Unix seconds: when it happened, if not now."""
        self._pending.append(
            Transition(time.time() if at is None else at, state, why, detail[:LONGEST_DETAIL], generation)
        )

    def pending(self) -> list[Transition]:
        return list(self._pending)

    def written(self, transitions: list[Transition]) -> None:
        """These have reached their place."""
        done = set(map(id, transitions))
        self._pending = deque((each for each in self._pending if id(each) not in done), maxlen=MOST)
