"""The ways to log in without driving a browser, and the wait for the end of any of them (PROTOCOL 7.2 to 7.4)."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import Final

from bridge.fleet.attempt_store import AttemptStore, Job
from bridge.lingma.dialects.base import AccountFacts, Dialect
from bridge.lingma.errors import NotReady, RpcError
from bridge.logins import credentials
from bridge.logins.callback import choice_of, organisations_in
from bridge.logins.credentials import AccessKey, BadCredentials, DeviceTokens, PersonalToken
from bridge.pool.logins.login_store import StoreAway
from bridge.signin.failure import AttemptFailed
from bridge.signin.login_service import LoginService
from bridge.signin.relay import relay
from bridge.status.accounts import AccountState, Remedy
from bridge.status.attempts import AttemptResult, AttemptState
from bridge.status.logins import LoginKind
from gateway_project.lib.json_errors import UNREADABLE
from gateway_project.lib.texts import gettext_noop

logger = logging.getLogger(__name__)

ASK_EVERY_SEC: Final = 2.0
PASTED_EVERY_SEC: Final = 0.5
NOT_TAKEN: Final = gettext_noop("Lingma did not take this address; log in once more.")


async def until_logged_in(service: LoginService, within: float, late: AttemptResult) -> AccountFacts:
    """Wait for the account. Raise AttemptFailed, with `late` when nobody is logged in in time."""
    loop = asyncio.get_running_loop()
    until = loop.time() + within
    while True:
        # Cleared before the question: what changes meanwhile is asked for once more.
        service.changed.clear()
        facts = await service.account()
        if facts.state.may_chat:
            return facts
        if facts.state.remedy is Remedy.ADMINISTRATOR:
            raise AttemptFailed(AttemptResult.ACCOUNT, facts.state.label)
        if loop.time() >= until:
            is_away = facts.state in (AccountState.NETWORK_ERROR, AccountState.ERROR)
            detail = "" if facts.state.remedy is Remedy.LOGIN else facts.state.label
            raise AttemptFailed(AttemptResult.UNREACHABLE if is_away else late, detail)
        with suppress(TimeoutError):
            async with asyncio.timeout(min(ASK_EVERY_SEC, max(until - loop.time(), 0))):
                await service.changed.wait()


async def with_secrets(service: LoginService, dialect: Dialect, job: Job, within: float) -> None:
    """Access key, personal token, or the tokens of a device. Raise AttemptFailed."""
    try:
        taken = dialect.is_taken(await service.request(dialect.log_in_with(_secrets(job))))
    except (RpcError, NotReady, *UNREADABLE) as exc:
        raise AttemptFailed(AttemptResult.REFUSED, str(exc)) from exc
    if not taken:
        raise AttemptFailed(AttemptResult.REFUSED)
    await until_logged_in(service, within, AttemptResult.REFUSED)


def _secrets(job: Job) -> AccessKey | PersonalToken | DeviceTokens:
    try:
        found = (
            credentials.read_device(job.pasted)
            if job.way is LoginKind.DEVICE
            else credentials.read(job.way, job.credentials)
        )
    except BadCredentials as exc:
        raise AttemptFailed(AttemptResult.NO_CREDENTIALS, str(exc)) from None
    if isinstance(found, credentials.Password):
        raise AttemptFailed(AttemptResult.NO_CREDENTIALS)
    return found


async def address(service: LoginService, dialect: Dialect) -> str:
    """Where a login in a browser begins. Raise AttemptFailed."""
    try:
        return dialect.url_of(await service.request(dialect.login_url()))
    except (RpcError, NotReady, *UNREADABLE) as exc:
        raise AttemptFailed(AttemptResult.NOT_TOLD, str(exc)) from exc


async def with_person(
    service: LoginService, job: Job, store: AttemptStore, url: str, within: float, detail: str = ""
) -> None:
    """Show the address, and wait until somebody has logged in there. Raise AttemptFailed or StoreAway."""
    await store.report(job.attempt, AttemptState.NEEDS_PERSON, url, detail)
    relaying = asyncio.create_task(_relay_pasted(service, job, store, url))
    try:
        await until_logged_in(service, within, AttemptResult.NOBODY_CAME)
    finally:
        relaying.cancel()
        await asyncio.wait({relaying}, timeout=1)


async def _relay_pasted(service: LoginService, job: Job, store: AttemptStore, url: str) -> None:
    """Until cancelled, pass on what somebody pastes: their browser may not reach this machine."""
    while True:
        with suppress(StoreAway):
            for pasted in await store.take_pasted(job.attempt):
                await store.report(job.attempt, AttemptState.NEEDS_PERSON, url, await _relayed(service, pasted))
        await asyncio.sleep(PASTED_EVERY_SEC)


async def _relayed(service: LoginService, pasted: str) -> str:
    """What there is to say of it; "" when it was taken, as far as can be seen."""
    try:
        page = await relay(service.http_port, pasted)
    except (OSError, TimeoutError) as exc:
        logger.warning("a callback could not be passed on: %s", str(exc) or "no answer in time")
        return NOT_TAKEN
    if names := organisations_in(page):
        return choice_of(names)
    service.changed.set()
    # A callback that failed is answered 200 as well, so only the account tells (PROTOCOL 7.3).
    try:
        facts = await service.account()
    except AttemptFailed:
        return ""  # whoever waits for the account says so; what is pasted next is passed on all the same
    return "" if facts.state.may_chat else NOT_TAKEN
