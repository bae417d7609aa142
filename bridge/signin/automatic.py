"""A login by itself: a browser sends the stored password; what only a person can do is left to one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from bridge.fleet.attempt_store import AttemptStore, Job
from bridge.logins import credentials
from bridge.logins.credentials import BadCredentials, Password
from bridge.signin import ways
from bridge.signin.browser import Browser, opened
from bridge.signin.failure import AttemptFailed
from bridge.signin.login_service import LoginService
from bridge.signin.options import SignInOptions
from bridge.signin.page_rules import PageRules, Progress, Seen, is_callback, next_step
from bridge.status.attempts import AttemptResult, AttemptState

if TYPE_CHECKING:
    from playwright.async_api import Frame

LOOK_SEC: Final = 0.25
ACT_MS: Final = 10_000
FOR_PERSONS: Final = {"captcha": AttemptResult.CAPTCHA, "code": AttemptResult.SECOND_FACTOR}


async def automatically(service: LoginService, job: Job, store: AttemptStore, options: SignInOptions) -> None:
    """Raise AttemptFailed or StoreAway."""
    password = _password(job)
    rules = await store.page_rules(PageRules)
    url = await ways.address(service, service.dialect)
    await store.report(job.attempt, AttemptState.SIGNING_IN)
    try:
        async with opened(options.browser, service.directory / "browser", url, service.http_port, rules) as browser:
            await _drive(browser, service, password, options)
            try:
                await ways.until_logged_in(service, options.answer_sec, AttemptResult.UNKNOWN_PAGE)
            except AttemptFailed as failure:
                raise await browser.failed(failure.result, failure.detail) from None
    except AttemptFailed as failure:
        if failure.result not in FOR_PERSONS.values():
            raise
        await _by_person(service, job, store, options, failure)


def _password(job: Job) -> Password:
    try:
        found = credentials.read(job.way, job.credentials)
    except BadCredentials as exc:
        raise AttemptFailed(AttemptResult.NO_CREDENTIALS, str(exc)) from None
    if not isinstance(found, Password):
        raise AttemptFailed(AttemptResult.NO_CREDENTIALS)
    return found


async def _by_person(
    service: LoginService, job: Job, store: AttemptStore, options: SignInOptions, failure: AttemptFailed
) -> None:
    """The browser is closed by now: whoever helps begins anew, in a browser of their own."""
    url = await ways.address(service, service.dialect)
    try:
        await ways.with_person(service, job, store, url, options.person_sec, failure.result.label)
    except AttemptFailed as exc:
        if exc.result is not AttemptResult.NOBODY_CAME:
            raise
        raise AttemptFailed(failure.result, failure.detail, failure.screenshot) from None


async def _drive(browser: Browser, service: LoginService, password: Password, options: SignInOptions) -> None:
    """To the callback. Raise AttemptFailed."""
    clock = asyncio.get_running_loop().time
    until, known_at = clock() + options.browser_sec, clock()
    await browser.open(options.browser_sec)
    done = Progress()
    while clock() < until:
        if is_callback(browser.page.url, service.http_port):
            return
        if browser.strayed:
            raise await browser.failed(AttemptResult.STRAYED, browser.strayed)
        seen, frame = await browser.look()
        step = next_step(seen, done)
        if step in FOR_PERSONS:
            raise await browser.failed(FOR_PERSONS[step])
        if step == "wrong":
            raise await browser.failed(AttemptResult.WRONG_PASSWORD)
        if step != "unknown":
            known_at = clock()
        elif clock() - known_at > options.unknown_sec:
            raise await browser.failed(AttemptResult.UNKNOWN_PAGE)
        if frame is not None and not browser.strayed:  # by now, too
            browser.typed = password.password if step == "fill" else browser.typed
            await _act(step, seen, frame, done, password)
            service.password_sent = done.submitted
        await asyncio.sleep(LOOK_SEC)
    raise await browser.failed(AttemptResult.PAGE_SLOW)


async def _act(step: str, seen: Seen, frame: Frame, done: Progress, password: Password) -> None:
    from playwright.async_api import Error

    try:
        if step in ("name", "fill") and seen.username:
            await frame.locator(seen.username).first.fill(password.username, timeout=ACT_MS)
        if step == "fill":
            # Into a field that hides it: whoever says where things are on the page is not told what it is.
            hidden = frame.locator(seen.password).and_(frame.locator("input[type=password]"))
            await hidden.first.fill(password.password, timeout=ACT_MS)
        if step in ("name", "fill"):
            done.named, done.submitted = True, step == "fill"
            await _send(seen, frame)
        if step == "follow":
            done.followed = True
            await frame.locator(seen.link).first.click(timeout=ACT_MS, no_wait_after=True)
    except Error:
        return  # the page has changed meanwhile; the next look sees what it is now


async def _send(seen: Seen, frame: Frame) -> None:
    if seen.submit:
        await frame.locator(seen.submit).first.click(timeout=ACT_MS, no_wait_after=True)
    else:
        await frame.locator(seen.password or seen.username).first.press("Enter", timeout=ACT_MS, no_wait_after=True)
