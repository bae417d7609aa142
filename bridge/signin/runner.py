"""One attempt from its claim to its end. Every way to fail is told to the store; nothing is left behind."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from pathlib import Path
from typing import Final

from bridge.fleet.attempt_lease import AttemptLease
from bridge.fleet.attempt_store import AttemptStore, Job
from bridge.lingma.errors import LingmaError
from bridge.logins import credentials
from bridge.logins.bundle import Bundle
from bridge.pool.logins.login_store import StoreAway
from bridge.signin import ways
from bridge.signin.automatic import automatically
from bridge.signin.failure import AttemptFailed
from bridge.signin.login_service import LoginService, remove
from bridge.signin.options import SignInOptions
from bridge.status.attempts import AttemptResult, AttemptState
from bridge.status.logins import LoginKind
from gateway_project.lib.texts import gettext_noop

logger = logging.getLogger(__name__)

SIGN_SEC: Final = 2.0
"""Between two signs of life; so long a cancelled attempt may go on."""
END_SEC: Final = 30.0
LEASE_WAIT_SEC: Final = 25.0
"""The lease of a process that was killed ends before that."""
CLEAN_SEC: Final = 30.0
KEEP_SEC: Final = 60.0


async def run(attempt: int, store: AttemptStore, options: SignInOptions) -> AttemptResult | None:
    """Run it if it still waits, and return how it ended; None: it is another process's, or over. Raise StoreAway."""
    job = await store.claim(attempt)
    if job is None:
        return None
    lease = AttemptLease(options.redis_url, job.login, job.generation, job.attempt)
    working = asyncio.create_task(_attempt(job, store, options, lease))
    try:
        await _watch(working, job, store)
    except asyncio.CancelledError:
        with suppress(StoreAway):
            await store.end(job, AttemptResult.WORKER_ENDED)
        raise
    finally:
        working.cancel()
        # What was cancelled ends its service first.
        await asyncio.wait({working}, timeout=END_SEC)
        await lease.free()
    return await _ended(working, job, store)


async def _watch(working: asyncio.Task[AttemptResult], job: Job, store: AttemptStore) -> None:
    """Until it has ended, or must not go on."""
    while not working.done():
        await asyncio.wait({working}, timeout=SIGN_SEC)
        try:
            state = AttemptState.DONE if working.done() else await store.sign(job.attempt)
        except StoreAway:
            continue  # what cannot be stored in the end fails there
        if state is AttemptState.DONE:  # it only clears up
            await asyncio.wait({working}, timeout=END_SEC)
        if state.is_over:
            return


async def _ended(working: asyncio.Task[AttemptResult], job: Job, store: AttemptStore) -> AttemptResult:
    failure = _failure(working)
    if failure is None:
        return working.result()
    given = job.pasted if job.way is LoginKind.DEVICE else job.credentials
    detail = credentials.without_secrets(failure.detail, job.way, given)
    logger.warning("login %s: the attempt has failed: %s", job.label, AttemptFailed(failure.result, detail))
    await store.end(job, failure.result, detail, failure.screenshot, password_sent=failure.password_sent)
    return failure.result


def _failure(working: asyncio.Task[AttemptResult]) -> AttemptFailed | None:
    if not working.done() or working.cancelled():
        return AttemptFailed(AttemptResult.CANCELLED)
    match working.exception():
        case None:
            result = working.result()
            return None if result is AttemptResult.LOGGED_IN else AttemptFailed(result)
        case AttemptFailed() as failure:
            return failure
        case StoreAway():
            return AttemptFailed(AttemptResult.BROKEN, gettext_noop("the database is away"))
        case other:
            logger.error("an attempt to log in broke", exc_info=other)
            return AttemptFailed(AttemptResult.BROKEN, type(other).__name__)


async def _attempt(job: Job, store: AttemptStore, options: SignInOptions, lease: AttemptLease) -> AttemptResult:
    await _hold(lease)
    holding = asyncio.create_task(_keep_holding(lease))
    working = asyncio.create_task(_log_in(job, store, options))
    try:
        await asyncio.wait({holding, working}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise AttemptFailed(AttemptResult.BUSY)
        return working.result()
    finally:
        holding.cancel()
        working.cancel()
        await asyncio.wait({holding, working}, timeout=END_SEC)


async def _hold(lease: AttemptLease) -> None:
    until = asyncio.get_running_loop().time() + LEASE_WAIT_SEC
    while not await lease.hold():
        if asyncio.get_running_loop().time() > until:
            raise AttemptFailed(AttemptResult.BUSY)
        await asyncio.sleep(1)


async def _keep_holding(lease: AttemptLease) -> None:
    """Ends when another process has it."""
    while True:
        # First: it has just been taken, and a renewal on its way would outlive an attempt that ends at once.
        await asyncio.sleep(SIGN_SEC)
        if not await lease.hold():
            return


async def _log_in(job: Job, store: AttemptStore, options: SignInOptions) -> AttemptResult:
    directory = options.directory / str(job.attempt)
    try:
        spec = options.spec(directory, job.version)
    except LingmaError as exc:
        raise AttemptFailed(AttemptResult.NO_PROGRAM, str(exc)) from exc
    service = LoginService(spec, job.endpoint, options)
    try:
        return await _through(service, job, store, options)
    except AttemptFailed as failure:
        failure.password_sent = service.password_sent
        raise
    finally:
        await service.end()


async def _through(service: LoginService, job: Job, store: AttemptStore, options: SignInOptions) -> AttemptResult:
    """All that an attempt does with its service."""
    await service.start()
    await _by_its_way(service, job, store, options)
    await store.report(job.attempt, AttemptState.CHECKING)
    await service.settle(options.stable_sec)
    await service.chat()
    facts = await service.account()
    if not facts.state.may_chat:
        raise AttemptFailed(AttemptResult.ACCOUNT, facts.state.label)
    bundle = await service.export()
    return await _keep(job, bundle, facts.expires_at, store)


async def _by_its_way(service: LoginService, job: Job, store: AttemptStore, options: SignInOptions) -> None:
    dialect = service.dialect
    if job.way is LoginKind.BROWSER:
        url = await ways.address(service, dialect)
        await ways.with_person(service, job, store, url, options.person_sec)
        return
    if job.way is LoginKind.AUTOMATIC:
        await automatically(service, job, store, options)
        return
    await store.report(job.attempt, AttemptState.SIGNING_IN)
    await ways.with_secrets(service, dialect, job, options.answer_sec)


async def _keep(job: Job, bundle: Bundle, expires_at: float, store: AttemptStore) -> AttemptResult:
    """A login that somebody may have had to make by hand is worth some patience with the database."""
    until = asyncio.get_running_loop().time() + KEEP_SEC
    while True:
        try:
            return await store.keep(job, bundle, expires_at)
        except StoreAway:
            if asyncio.get_running_loop().time() > until:
                raise
        await asyncio.sleep(1)


async def clean(store: AttemptStore, directory: Path) -> None:
    """Remove what attempts have left whose process was killed. Raise StoreAway."""
    left = {int(each.name): each for each in await _listed(directory) if each.name.isdecimal()}
    if over := set(left) - await store.running(left):
        async with asyncio.timeout(CLEAN_SEC):
            for each in over:
                await asyncio.to_thread(remove, left[each])


async def _listed(directory: Path) -> list[Path]:
    async with asyncio.timeout(CLEAN_SEC):
        return await asyncio.to_thread(lambda: list(directory.iterdir()) if directory.is_dir() else [])
