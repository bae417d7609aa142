"""Queries on logins and on attempts to log in: never on the loop, and each with a deadline."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Final, TypeVar

from django.db import Error, connection

from accounts.audit.context import unrecorded
from bridge.pool.logins.login_store import StoreAway
from gateway_project.lib.database import database_state as database
from gateway_project.lib.database.query_thread import QueryThread

QUERY_SEC: Final = 5.0
GIVE_UP_SEC: Final = 8.0
T = TypeVar("T")


class LoginQueries:
    """On a thread of their own. What they change is no change of an operator, so the audit log has none of it.

    Unless they say who it is that acts.
    """

    def __init__(self, name: str) -> None:
        self._thread = QueryThread(name)

    async def _run(self, query: Callable[[], T], who: Callable[[], AbstractContextManager[None]] = unrecorded) -> T:
        try:
            found = await self._thread.run(lambda: _within(query, who), GIVE_UP_SEC)
        except Error as exc:
            database.failed(exc)
            raise StoreAway from exc
        database.works()
        return found


def _within(query: Callable[[], T], who: Callable[[], AbstractContextManager[None]]) -> T:
    try:
        with database.within(QUERY_SEC, ahead=True), who():
            return query()
    finally:
        connection.close()  # as every thread of our own does


def moment(seconds: float) -> datetime | None:
    """Of Unix seconds; 0 is none."""
    return datetime.fromtimestamp(seconds, UTC) if seconds else None
