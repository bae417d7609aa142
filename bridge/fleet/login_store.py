"""The logins in the database, as instances of a web process fetch, store and report them: never on its loop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, TypeVar

from django.db import Error, connection, transaction
from django.utils import timezone

from accounts.audit.context import unrecorded
from bridge.logins.bundle import BadBundle, Bundle
from bridge.logins.work_dir import Held
from bridge.models import Login, announce_orders
from bridge.pool.logins import Delivery, Report, StoreAway
from bridge.pool.pool import Pool
from bridge.status.accounts import AccountState
from bridge.status.logins import LoginProblem
from gateway_project.lib import database_state as database
from gateway_project.lib.query_thread import QueryThread
from gateway_project.lib.secrets_at_rest import Secret, SecretUnreadableError

logger = logging.getLogger(__name__)

QUERY_SEC: Final = 5.0
GIVE_UP_SEC: Final = 8.0
EVERY_SEC: Final = 1.0
T = TypeVar("T")


class DatabaseLogins:
    """A `LoginStore`. What it changes is no change of an operator, so the audit log has none of it."""

    def __init__(self) -> None:
        self._thread = QueryThread("logins")

    async def deliver(self, login: int) -> Delivery | None:
        return await self._run(lambda: _deliver(login))

    async def keep(self, held: Held, bundle: Bundle, expires_at: float) -> int | None:
        return await self._run(lambda: _keep(held, bundle, _moment(expires_at)))

    async def report(self, report: Report) -> None:
        await self._run(lambda: _report(report))

    async def _run(self, query: Callable[[], T]) -> T:
        try:
            found = await self._thread.run(lambda: _within(query), GIVE_UP_SEC)
        except Error as exc:
            database.failed(exc)
            raise StoreAway from exc
        database.works()
        return found


async def look_after(pool: Pool) -> None:
    """Until cancelled, have each login fetched, stored and reported when that is due."""
    while True:
        try:
            await pool.look_after_logins()
        except StoreAway as exc:
            logger.debug("logins wait for the database: %s", exc)
        await asyncio.sleep(EVERY_SEC)


def _within(query: Callable[[], T]) -> T:
    try:
        with database.within(QUERY_SEC, ahead=True), unrecorded():
            return query()
    finally:
        connection.close()  # as every thread of our own does


def _deliver(login: int) -> Delivery | None:
    row = Login.objects.filter(pk=login).first()
    if row is None or row.bundle is None:
        return None
    try:
        return Delivery(login, row.generation, Bundle.unpacked(row.bundle.read()))
    except (SecretUnreadableError, BadBundle) as exc:
        logger.warning("login %s: %s", row.label, exc)
        Login.objects.filter(pk=login).exclude(problem=LoginProblem.UNREADABLE).update(problem=LoginProblem.UNREADABLE)
        return None


def _keep(held: Held, bundle: Bundle, expires_at: datetime | None) -> int | None:
    now = timezone.now()
    with transaction.atomic():
        row = Login.objects.select_for_update().filter(pk=held.login).defer("bundle", "credentials").first()
        if row is None or not may_replace(held.generation, expires_at, row):
            return None
        # The generation once more: SQLite locks no rows.
        changed = Login.objects.filter(pk=row.pk, generation=row.generation).update(
            bundle=Secret.of(bundle.packed()), generation=row.generation + 1, expires_at=expires_at,
            account=AccountState.LOGGED_IN, refreshed_at=now, reported_at=now, problem=LoginProblem.NONE,
        )  # fmt: skip
        if not changed:
            return None
        announce_orders()
    logger.info("login %s: the service has renewed it, generation %d", row.label, row.generation + 1)
    return row.generation + 1


def may_replace(generation: int, expires_at: datetime | None, row: Login) -> bool:
    """Whether what a service made of that generation may take the place of what is stored."""
    if generation < row.brought_generation:
        return False
    if row.expires_at is None or expires_at is None:
        return generation >= row.generation
    # Another instance of this login was first: then only a login that lasts longer is worth more.
    return expires_at >= row.expires_at if generation >= row.generation else expires_at > row.expires_at


def _report(report: Report) -> None:
    # Of an older generation nobody needs to know.
    Login.objects.filter(pk=report.login, generation=report.generation).update(
        account=report.account, reported_at=timezone.now(), problem=report.problem,
        # Who has been logged out does not know any more until when he was logged in.
        **({"expires_at": _moment(report.expires_at)} if report.expires_at else {}),
    )  # fmt: skip


def _moment(seconds: float) -> datetime | None:
    return datetime.fromtimestamp(seconds, UTC) if seconds else None
