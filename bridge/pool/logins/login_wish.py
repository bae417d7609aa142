"""Which login an instance is to have, and the files of that login once they were fetched."""

from __future__ import annotations

import asyncio
import math
import time
from typing import Final

from bridge.pool.logins.login_store import Delivery, LoginStore
from bridge.status.logins import WantedLogin

AGAIN_SEC: Final = 60.0  # until files that cannot be read are asked for once more


class LoginWish:
    """`want()` at any time; `files()` when they are needed."""

    def __init__(self) -> None:
        self.login: WantedLogin | None = None
        self.is_known = asyncio.Event()
        """Set as soon as it is known what is wanted: until then the work dir keeps what it has."""
        self.was_taken = False
        """Operators have taken the last one away."""
        self._delivery: Delivery | None = None
        self._unreadable: WantedLogin | None = None
        self._again_at = -math.inf

    def want(self, login: WantedLogin | None) -> None:
        """None: no login of ours."""
        self.was_taken = login is None and (self.was_taken or self.login is not None)
        self.login = login
        self.is_known.set()

    def succeed(self, before: LoginWish) -> None:
        """Want what that one wants; its files need not be fetched again."""
        self.login, self._delivery, self.was_taken = before.login, before._delivery, before.was_taken
        if before.is_known.is_set():
            self.is_known.set()

    def has_files(self, wanted: WantedLogin) -> bool:
        """They are at hand, in that generation or a later one."""
        found = self._delivery
        return found is not None and found.login == wanted.login and found.generation >= wanted.generation

    async def files(self, store: LoginStore | None, wanted: WantedLogin) -> Delivery | None:
        """Those at hand, else the newest of the store; None: they cannot be had now. Raise StoreAway."""
        if self.has_files(wanted):
            return self._delivery
        now = time.monotonic()
        if store is None or (wanted == self._unreadable and now < self._again_at):
            return None
        found = await store.deliver(wanted.login)
        # Files that cannot be read are not asked for each second.
        self._unreadable, self._again_at = wanted if found is None else None, now + AGAIN_SEC
        self._delivery = found
        return found

    def files_used(self) -> None:
        """The work dir has them."""
        self._delivery = None
