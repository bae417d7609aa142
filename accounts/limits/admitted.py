"""What a request has been given that was admitted, and what one gets whose key has no limits."""

from __future__ import annotations

from typing import Protocol

from accounts.limits.counters import Seen


class Admission(Protocol):
    """A turn that was admitted: release it when it has ended, with the tokens it took."""

    seen: Seen | None
    """How the limits stood."""

    def release(self, tokens: int = 0) -> None:
        """At once for whoever asks behind it, and nobody waits for it. Never raises; a second time does nothing."""

    async def amend(self, difference: int) -> None:
        """So many tokens more, or fewer, than it was released with. Never raises."""

    @property
    def is_shared(self) -> bool:
        """Others know of it, so that another process may `adopt` it."""

    def lend(self) -> None:
        """Another process is asked to `adopt` it, and may have released it before that is known here."""

    def take_back(self) -> None:
        """It has not: the turn is this process's alone."""

    def leave(self) -> None:
        """Another process releases it. What is called then does nothing."""

    @property
    def is_ending(self) -> bool:
        """It was released, and Redis has not said yet that this is counted."""

    async def ended(self) -> None:
        """Wait until it has, or takes too long: whoever is told that the turn has ended may ask again at once."""


class HoldsNothing:
    """A request that nothing has to be given back for."""

    __slots__ = ("seen",)

    def __init__(self, seen: Seen | None = None) -> None:
        self.seen = seen

    def release(self, tokens: int = 0) -> None:
        pass

    async def amend(self, difference: int) -> None:
        pass

    is_shared = True

    def lend(self) -> None:
        pass

    take_back = leave = lend
    is_ending = False

    async def ended(self) -> None:
        pass


UNLIMITED: Admission = HoldsNothing()
