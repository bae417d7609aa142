"""A turn that another web process may run, as the engine sees it."""

from __future__ import annotations

from typing import Protocol

from bridge.pool.policy import Affinity
from sessions_store.store import Found


class Elsewhere(Protocol):
    """What hands one turn over."""

    def holds(self, affinity: Affinity) -> bool:
        """The session is none of this process: another one may hold it."""

    @property
    def has_room(self) -> bool:
        """Another machine has a free place, as far as is known."""

    async def run(self, found: Found | None) -> bool:
        """Have it run there, and the client answered; False: it could not, and nothing was sent.

        Without a session, where there is room.

        Raise GatewayError when it was lost in the middle of its answer.
        """
