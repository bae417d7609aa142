"""Attempts in the database, as whoever runs one claims, reports and ends it: never on its loop."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection
from datetime import datetime
from typing import Any, Final, TypeVar

import msgspec
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from accounts.audit.context import Source, acting
from accounts.audit.entries import Changes, record_object
from bridge.fleet import versions
from bridge.fleet.attempts import addresses_in
from bridge.fleet.login_failures import count_failure, is_blameless, worker_is_back
from bridge.fleet.login_queries import LoginQueries, moment
from bridge.fleet.login_store import LATER
from bridge.logins.bundle import Bundle
from bridge.models import Login, LoginAttempt, SignInPage, Version, announce_orders
from bridge.status.accounts import AccountState
from bridge.status.attempts import AttemptReason, AttemptResult, AttemptState
from bridge.status.logins import LoginKind, LoginProblem
from bridge.status.versions import WantedVersion
from gateway_project.lib.secrets.secrets_at_rest import Secret, SecretUnreadableError

logger = logging.getLogger(__name__)

SOURCES: Final = {
    AttemptReason.OPERATOR: Source.CONSOLE, AttemptReason.COMMAND: Source.COMMAND,
    AttemptReason.SCHEDULE: Source.SCHEDULE, AttemptReason.LOST: Source.SCHEDULE,
}  # fmt: skip
PASSING: Final = (
    AttemptResult.UNREACHABLE, AttemptResult.PAGE_AWAY, AttemptResult.PAGE_SLOW, AttemptResult.LOST_SERVICE,
    AttemptResult.CHAT_AWAY,
)  # fmt: skip
"""After such an end there is a pause, but never the last one: what is away comes back.

Unless a password was sent before it: who sends one again and again has the account locked.
"""
R = TypeVar("R")


class Job(msgspec.Struct, frozen=True):
    """An attempt that was claimed."""

    attempt: int
    login: int
    label: str
    way: LoginKind
    reason: AttemptReason
    generation: int
    endpoint: str = ""
    who: str = ""
    credentials: bytes = b""
    pasted: bytes = b""
    version: WantedVersion | None = None
    """That its instances run; None: what the settings say."""

    def __repr__(self) -> str:
        return f"<Job {self.attempt}>"


class AttemptStore(LoginQueries):
    """Each method raises StoreAway, after a few seconds at most."""

    def __init__(self) -> None:
        super().__init__("attempts")

    async def claim(self, attempt: int) -> Job | None:
        """None: another process has claimed it, or it is over."""
        return await self._run(lambda: _claim(attempt))

    async def running(self, attempts: Collection[int]) -> set[int]:
        """Those of them that are not over."""
        return await self._run(
            lambda: set(LoginAttempt.objects.filter(pk__in=attempts, ended_at=None).values_list("pk", flat=True))
        )

    async def page_rules(self, kind: type[R]) -> R:
        """What operators have changed of what is known of the login page."""
        return kind(**await self._run(SignInPage.changes))

    async def sign(self, attempt: int) -> AttemptState:
        """Give a sign of life, and say how far the attempt is: others may have ended it."""
        return await self._run(lambda: _sign(attempt))

    async def report(self, attempt: int, state: AttemptState, url: str = "", detail: str = "") -> None:
        """How far it is; with NEEDS_PERSON, the address to log in at."""
        changes = {"state": state, "url": url, "detail": detail[:300], "seen_at": timezone.now()}
        await self._run(lambda: _report(attempt, changes))

    async def take_pasted(self, attempt: int) -> list[str]:
        """What somebody has pasted since, in its order, each once."""
        return await self._run(lambda: _take_pasted(attempt))

    async def keep(self, job: Job, bundle: Bundle, expires_at: float) -> AttemptResult:
        """Store the login as a new generation, and end the attempt, or say why not; never over a newer one.

        `expires_at`: unix seconds; 0: not known.
        """
        return await self._run(lambda: _keep(job, bundle, moment(expires_at)))

    async def end(
        self, job: Job, result: AttemptResult, detail: str = "", screenshot: bytes = b"", *, password_sent: bool = False
    ) -> None:
        """End it unless it is over already."""
        state = AttemptState.CANCELLED if result is AttemptResult.CANCELLED else AttemptState.FAILED
        passes = result in PASSING and not password_sent
        await self._run(lambda: _end(job, state, result, detail, screenshot, passes=passes))


def version_of(login: Login) -> Version | None:
    """What the instances of a login run, or most of them: its files are made by the same; None: no such order.

    Of several that as many run, the one without an order of its own goes first: that is no canary.
    """
    default = Version.objects.filter(is_default=True).first()
    ordered = [order.version for order in login.orders.select_related("version")]
    if not ordered:
        return default
    found = Counter(each or default for each in ordered)
    return max(found, key=lambda each: (found[each], each == default))


def _open(attempt: int) -> QuerySet[LoginAttempt]:
    return LoginAttempt.objects.filter(pk=attempt, ended_at=None)


def _sign(attempt: int) -> AttemptState:
    _open(attempt).update(seen_at=timezone.now())
    found = LoginAttempt.objects.filter(pk=attempt).values_list("state", flat=True).first()
    return AttemptState.CANCELLED if found is None else AttemptState(found)


def _report(attempt: int, changes: dict[str, Any]) -> None:
    _open(attempt).update(**changes)
    if changes["state"] == AttemptState.NEEDS_PERSON:
        announce_orders()


def _claim(attempt: int) -> Job | None:
    waiting = _open(attempt).filter(state=AttemptState.WAITING)
    if not waiting.update(state=AttemptState.STARTING, seen_at=timezone.now()):
        worker_is_back(attempt)
        return None
    announce_orders()
    row = LoginAttempt.objects.select_related("login").defer("login__bundle", "screenshot").get(pk=attempt)
    login = row.login
    job = Job(
        row.pk, login.pk, login.label, LoginKind(row.way), AttemptReason(row.reason), row.generation, login.endpoint,
        row.who, version=versions.wanted(version_of(login)),
    )  # fmt: skip
    if login.brought_generation > row.generation:
        _end(job, AttemptState.FAILED, AttemptResult.NEWER)
        return None
    try:
        needed = login.credentials if job.way.has_credentials else None
        given = needed.read() if needed is not None else b""
        pasted = row.pasted.read() if row.pasted is not None else b""
    except SecretUnreadableError:
        _end(job, AttemptState.FAILED, AttemptResult.UNREADABLE)
        return None
    _open(attempt).update(pasted=None)
    return msgspec.structs.replace(job, credentials=given, pasted=pasted)


def _take_pasted(attempt: int) -> list[str]:
    found: Any = _open(attempt).exclude(pasted=None).values_list("pasted", flat=True).first()
    # Only what was read is taken out: what comes in this moment is there for the next look.
    if found is None or not _open(attempt).filter(pasted=found).update(pasted=None):
        return []
    return addresses_in(found)


def _keep(job: Job, bundle: Bundle, expires_at: datetime | None) -> AttemptResult:
    now = timezone.now()
    with transaction.atomic():
        # The attempt first: whoever has cancelled it wants nothing stored.
        ended = _open(job.attempt).update(
            state=AttemptState.DONE, result=AttemptResult.LOGGED_IN, ended_at=now, url="", pasted=None, detail=""
        )
        row = Login.objects.select_for_update().filter(pk=job.login).defer("bundle", "credentials").first()
        refusal = _refusal(job, row, expires_at) if ended else AttemptResult.CANCELLED
        if refusal is None and row is not None and not _replace(row, bundle, expires_at, now):
            refusal = AttemptResult.NEWER
        if refusal is not None:
            transaction.set_rollback(True)
            return refusal
        announce_orders()
        LoginAttempt.prune(job.login)
    if row is not None:
        _record(job, row, expires_at)
    logger.info("login %s: logged in anew, generation %d", job.label, row.generation + 1 if row is not None else 0)
    return AttemptResult.LOGGED_IN


def _refusal(job: Job, row: Login | None, expires_at: datetime | None) -> AttemptResult | None:
    """Why what is stored stays, or None."""
    if row is None or row.brought_generation > job.generation:
        return AttemptResult.NEWER
    is_later = row.expires_at is None or (expires_at is not None and expires_at > row.expires_at + LATER)
    if row.generation > job.generation and not is_later:  # a service has renewed it meanwhile
        return AttemptResult.NEWER
    is_good = row.account == AccountState.LOGGED_IN and row.expires_at is not None and row.expires_at > timezone.now()
    # A later end is the only sign that a refresh has brought anything (PROTOCOL 7.4).
    return AttemptResult.NOT_LATER if job.reason.by_itself and is_good and not is_later else None


def _replace(row: Login, bundle: Bundle, expires_at: datetime | None, now: datetime) -> bool:
    # The generation once more: SQLite locks no rows.
    changed = Login.objects.filter(pk=row.pk, generation=row.generation).update(
        bundle=Secret.of(bundle.packed()), generation=row.generation + 1, brought_generation=row.generation + 1,
        expires_at=expires_at, account=AccountState.LOGGED_IN, refreshed_at=now, reported_at=now,
        problem=LoginProblem.NONE, failures=0, retry_at=None,
    )  # fmt: skip
    return bool(changed)


def _record(job: Job, row: Login, expires_at: datetime | None) -> None:
    """In the audit log, as of whoever wanted it."""
    changes: Changes = {
        "generation": [str(row.generation), str(row.generation + 1)],
        "expires_at": [_shown(row.expires_at), _shown(expires_at)],
    }
    with acting(SOURCES[job.reason], job.who):
        record_object("renewed", row, changes)


def _shown(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="seconds")


def _end(
    job: Job, state: AttemptState, result: AttemptResult, detail: str = "", screenshot: bytes = b"", *,
    passes: bool = False,
) -> None:  # fmt: skip
    reached = AttemptState(_open(job.attempt).values_list("state", flat=True).first() or AttemptState.CANCELLED)
    ended = _open(job.attempt).update(
        state=state, result=result, detail=detail[:300], ended_at=timezone.now(), url="", pasted=None,
        screenshot=Secret.of(screenshot) if screenshot else None,
    )  # fmt: skip
    is_failure = state is AttemptState.FAILED and not is_blameless(job.way, reached, result)
    if ended and job.reason.by_itself and is_failure:
        count_failure(job.login, passes=passes)
    if ended:
        announce_orders()
    LoginAttempt.prune(job.login)
