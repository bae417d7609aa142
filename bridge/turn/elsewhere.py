"""A turn that another web process may run, as the engine sees it."""

from __future__ import annotations

from typing import Protocol

from bridge.pool.policy import Affinity
from sessions_store.store import Found


class Elsewhere(Protocol):
    """Hands one turn over to another process, if one can take it."""

    def holds(self, affinity: Affinity) -> bool:
        """The session is none of this process: another one may hold it."""

    @property
    def has_room(self) -> bool:
        """Another machine has a free place, as far as is known."""

    @property
    def has_room_for_doubt(self) -> bool:
        """So has any other process: a turn in doubt borrows no place."""

    async def run(self, found: Found | None, left: float, signs: int = 0, exits: int | None = None) -> bool:
        """Have it run there, and the client answered; False: it could not, and nothing of a reply was sent.

        Without a session, where there is room. It waits there for `left` seconds at most. `signs` are the signs of life
        that the client has had, `exits` those of services that a turn in doubt was lost with; None: it is in none.

        Raise GatewayError when it was lost in the middle of its answer, or failed there.
        """
