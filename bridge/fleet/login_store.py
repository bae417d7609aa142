"""The logins in the database, as instances of a web process fetch, store and report them: never on its loop."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Final

from django.db import transaction
from django.utils import timezone

from bridge.fleet import login_refresh
from bridge.fleet.login_queries import LoginQueries, moment
from bridge.logins.bundle import BadBundle, Bundle
from bridge.logins.work_dir import Held
from bridge.models import Login, LoginAttempt, announce_orders
from bridge.pool.logins.login_store import Delivery, Report, StoreAway
from bridge.pool.pool import Pool
from bridge.status.accounts import AccountState, Remedy
from bridge.status.attempts import AttemptResult
from bridge.status.logins import LoginProblem
from gateway_project.lib.background import pause
from gateway_project.lib.secrets.secrets_at_rest import Secret, SecretUnreadableError

logger = logging.getLogger(__name__)

EVERY_SEC: Final = 1.0
LATER: Final = timedelta(seconds=1)
"""Ends are compared as services tell them, and as the database keeps them."""


class DatabaseLogins(LoginQueries):
    """A `LoginStore`. What it changes is no change of an operator, so the audit log has none of it."""

    def __init__(self) -> None:
        super().__init__("logins")

    async def deliver(self, login: int) -> Delivery | None:
        return await self._run(lambda: _deliver(login))

    async def keep(self, held: Held, bundle: Bundle, expires_at: float) -> int | None:
        return await self._run(lambda: _keep(held, bundle, moment(expires_at)))

    async def report(self, report: Report) -> None:
        await self._run(lambda: _report(report))

    async def not_renewed(self, held: Held, result: AttemptResult) -> None:
        await self._run(lambda: _not_renewed(held, result))


async def look_after(pool: Pool) -> None:
    """Until cancelled, have each login fetched, stored and reported when that is due."""
    while True:
        try:
            await pool.upkeep.look_after_logins()
        except StoreAway as exc:
            logger.debug("logins wait for the database: %s", exc)
        await pause(EVERY_SEC)


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
        _note_if_later(row, expires_at)
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


def _note_if_later(row: Login, expires_at: datetime | None) -> None:
    """Its service has renewed it: files that it writes anew for another reason end when those before did."""
    if row.expires_at is not None and expires_at is not None and expires_at > row.expires_at + LATER:
        LoginAttempt.note_renewal(row.pk, row.generation, AttemptResult.RENEWED)


def _not_renewed(held: Held, result: AttemptResult) -> None:
    if Login.objects.filter(pk=held.login).exists():
        LoginAttempt.note_renewal(held.login, held.generation, result)


def _report(report: Report) -> None:
    # Of an older generation nobody needs to know.
    rows = Login.objects.filter(pk=report.login, generation=report.generation)
    if report.account is AccountState.UNKNOWN:
        rows.update(problem=report.problem)
        return
    for row in rows.only("generation", "expires_at"):
        _note_if_later(row, moment(report.expires_at))
    known = rows.update(
        account=report.account, reported_at=timezone.now(), problem=report.problem,
        # Who has been logged out does not know any more until when he was logged in.
        **({"expires_at": moment(report.expires_at)} if report.expires_at else {}),
    )  # fmt: skip
    if known and report.account.remedy is Remedy.LOGIN:
        login_refresh.begin_lost(report.login)
