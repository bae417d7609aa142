"""Logins for instances that have none, as soon as they ask for one: new containers have instances of new names."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection
from functools import partial
from typing import Final

from bridge.fleet import logins
from bridge.fleet.login_queries import LoginQueries
from bridge.fleet.spread_orders import by_itself
from bridge.pool.logins.login_store import StoreAway
from bridge.pool.pool import Pool

logger = logging.getLogger(__name__)

EVERY_SEC: Final = 1.0
AGAIN_SEC: Final = 5.0  # where there was none to give, or it cannot be told


class LoginSpread(LoginQueries):
    """Of one web process, for the instances of its pool: no other process gives them any by itself."""

    def __init__(self, pool: Pool, redis_url: str) -> None:
        super().__init__("login-spread")
        self._pool = pool
        self._redis_url = redis_url
        self._given: set[str] = set()
        """Those that have not heard of it yet."""

    async def follow(self) -> None:
        upkeep = self._pool.upkeep
        upkeep.expect_logins(expected=True)
        while True:
            names = set(upkeep.without_login())
            self._given &= names
            has_given = names <= self._given or await self._give(names - self._given)
            upkeep.expect_logins(expected=has_given)
            await asyncio.sleep(EVERY_SEC if has_given else AGAIN_SEC)

    async def _give(self, names: Collection[str]) -> bool:
        """False: to none of them."""
        try:
            given = await self._run(partial(logins.spread, self._redis_url, names), by_itself)
        except StoreAway as exc:
            logger.debug("logins are not given to instances: %s", exc)
            return False
        for name, login in given.items():
            logger.info("%s had no login, and is given %s", name, login.label)
        self._given |= set(given)
        return bool(given)
