"""A Chromium without a window, with a profile of its own that nothing survives. Playwright drives it."""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bridge.signin.failure import AttemptFailed
from bridge.signin.page_rules import (
    MOST_REDIRECTS,
    PageRules,
    Seen,
    known_hosts,
    may_visit,
    resolver_rule,
    without_query,
)
from bridge.signin.proxies import proxies_of, script_of
from bridge.status.attempts import AttemptResult

if TYPE_CHECKING:
    from playwright.async_api import BrowserContext, Frame, Page, Playwright, Request, Route

NAMES: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
START_MS: Final = 30_000
CLOSE_SEC: Final = 10.0
LOOK_SEC: Final = 2.0
SHOT_MS: Final = 5_000
LARGEST_SHOT: Final = 1 << 20
MOST_FRAMES: Final = 20
LOCAL: Final = re.compile(r"^[a-z]+://([^/?#]*@)?(localhost|127\.|\[|0\.)", re.IGNORECASE)
PASSED_ON: Final = ("PATH", "LANG", "LC_ALL", "TZ")
ARGUMENTS: Final = (
    "--disable-gpu", "--disable-background-networking", "--disable-dev-shm-usage", "--disable-extensions",
    "--no-first-run", "--disable-sync", "--deny-permission-prompts",
)  # fmt: skip


def found(path: str) -> str:
    """The browser: that of LOGIN_BROWSER, or the first on PATH. Raise AttemptFailed."""
    known = shutil.which(path) if path else next(filter(None, map(shutil.which, NAMES)), None)
    if known is None:
        raise AttemptFailed(AttemptResult.NO_BROWSER, path)
    return known


class Browser:
    """One page. What leads away from the known hosts ends the attempt; downloads and other windows are closed."""

    def __init__(self, page: Page, first: str, port: int, rules: PageRules) -> None:
        self.page = page
        self.strayed = ""
        """The host that the page led to, and may not; or that it led in circles."""
        self.typed = ""
        """The password, once the page has it: no picture shows it."""
        self._first, self._port, self._rules = first, port, rules
        page.on("request", self._on_request)
        page.on("dialog", lambda dialog: asyncio.ensure_future(dialog.dismiss()))
        page.context.on("page", self._on_window)

    async def open(self, within: float) -> None:
        """Raise AttemptFailed."""
        from playwright.async_api import Error
        from playwright.async_api import TimeoutError as Late

        await self.page.context.route(LOCAL, self._on_local)
        try:
            await self.page.goto(self._first, timeout=within * 1000, wait_until="domcontentloaded")
        except Late:
            raise await self.failed(AttemptResult.PAGE_SLOW) from None
        except Error as exc:
            raise await self.failed(AttemptResult.PAGE_AWAY, without_query(exc.message.splitlines()[0])) from None

    async def look(self) -> tuple[Seen, Frame | None]:
        """What is there, and in which frame: of those alone that come from where the browser may go."""
        from playwright.async_api import Error

        is_loaded = True
        for frame in self.page.frames[:MOST_FRAMES]:
            if not self._may_visit(frame.url):
                continue
            try:
                async with asyncio.timeout(LOOK_SEC):
                    seen = await self._in(frame)
            except (Error, TimeoutError):
                is_loaded = False  # it is on its way to another page
                continue
            if seen != Seen(is_loaded=seen.is_loaded):
                return seen, frame
            is_loaded = is_loaded and seen.is_loaded
        return Seen(is_loaded=is_loaded), None

    async def _in(self, frame: Frame) -> Seen:
        rules = self._rules
        wanted = {
            "username": rules.user_fields, "password": rules.password_fields, "submit": rules.buttons,
            "link": rules.links, "error": rules.errors, "captcha": rules.captchas, "code": rules.codes,
        }  # fmt: skip
        answer = await frame.evaluate(LOOK, {name: list(each) for name, each in wanted.items()})
        return Seen(**{name: str(answer.get(name) or "") for name in wanted}, is_loaded=bool(answer.get("is_loaded")))

    async def failed(self, result: AttemptResult, detail: str = "") -> AttemptFailed:
        """With a picture of the page."""
        return AttemptFailed(result, detail, await self.screenshot())

    async def screenshot(self) -> bytes:
        """A PNG of what is visible, but for what was typed; nothing where there is none, or it is too large."""
        from playwright.async_api import Error

        frames = self.page.frames[:MOST_FRAMES]
        try:
            async with asyncio.timeout(LOOK_SEC):
                if self.typed and any([self.typed in await each.evaluate(WORDS) for each in frames]):
                    return b""
            typed = [each.locator("input, textarea, [contenteditable]") for each in frames]
            shot = await self.page.screenshot(timeout=SHOT_MS, type="png", animations="disabled", mask=typed)
        except (Error, TimeoutError):
            return b""
        return shot if len(shot) <= LARGEST_SHOT else b""

    def _on_request(self, request: Request) -> None:
        if not request.is_navigation_request():
            return
        hops, before = 0, request.redirected_from
        while before is not None and hops <= MOST_REDIRECTS:
            hops, before = hops + 1, before.redirected_from
        if request.url.startswith(("about:", "data:", "blob:")):
            return
        if hops > MOST_REDIRECTS or not self._may_visit(request.url):
            self.strayed = self.strayed or without_query(request.url)[:200]

    def _may_visit(self, url: str) -> bool:
        return may_visit(url, self._first, self._port, self._rules.hosts)

    async def _on_local(self, route: Route) -> None:
        """A stranger's page has no business on this machine but the callback."""
        if may_visit(route.request.url, self._first, self._port, ()):
            await route.continue_()
        else:
            await route.abort()

    def _on_window(self, window: Page) -> None:
        if window is not self.page:
            asyncio.ensure_future(_close(window))  # noqa: RUF006  the browser ends with the attempt


async def _close(window: Page) -> None:
    from playwright.async_api import Error

    with suppress(Error, TimeoutError):
        async with asyncio.timeout(CLOSE_SEC):
            await window.close()


WORDS: Final = "() => document.documentElement?.innerText || ''"
LOOK: Final = """wanted => {
  const visible = each => { const box = each.getBoundingClientRect(); const style = getComputedStyle(each);
    return box.width > 0 && box.height > 0 && style.visibility !== "hidden" && style.display !== "none"; };
  const fits = name => each => visible(each) && (name !== "password" || each.type === "password");
  const first = (name, selectors) => selectors.find(each => {
    try { return [...document.querySelectorAll(each)].slice(0, 50).some(fits(name)); } catch { return false; } }) || "";
  const found = {is_loaded: document.readyState === "complete"};
  for (const [name, selectors] of Object.entries(wanted)) found[name] = first(name, selectors);
  return found;
}"""


@asynccontextmanager
async def opened(path: str, profile: Path, first: str, port: int, rules: PageRules) -> AsyncIterator[Browser]:
    """A browser that knows nothing and forgets everything. Raise AttemptFailed when there is none."""
    executable = found(path)
    try:
        from playwright.async_api import Error, async_playwright
    except ImportError:
        raise AttemptFailed(AttemptResult.NO_PLAYWRIGHT) from None
    async with async_playwright() as playwright:
        try:
            context = await _launched(playwright, executable, profile, _network(first, port, rules))
        except Error as exc:
            raise AttemptFailed(AttemptResult.NO_BROWSER, exc.message.splitlines()[0]) from None
        try:
            page = context.pages[0] if context.pages else await context.new_page()
            yield Browser(page, first, port, rules)
        finally:
            with suppress(Error, TimeoutError):
                async with asyncio.timeout(CLOSE_SEC):
                    await context.close()


def _network(first: str, port: int, rules: PageRules) -> list[str]:
    """Whom it may ask for what, as Chromium is told by its command line."""
    proxies = proxies_of(os.environ, f"{secrets.token_hex(8)}.invalid")
    script = script_of(proxies, known_hosts(first, rules.hosts))
    return [
        f"--host-resolver-rules={resolver_rule(first, port, rules.hosts, proxies.all)}",
        f"--proxy-pac-url={script}" if proxies.all else "--no-proxy-server",
    ]


async def _launched(playwright: Playwright, executable: str, profile: Path, network: list[str]) -> BrowserContext:
    variables = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    return await playwright.chromium.launch_persistent_context(
        str(profile),
        executable_path=executable,
        headless=True,
        # As root it has no sandbox; nobody else goes without.
        chromium_sandbox=os.geteuid() != 0,
        args=[*ARGUMENTS, *network],
        env={**variables, "HOME": str(profile)},
        accept_downloads=False,
        service_workers="block",
        viewport={"width": 1024, "height": 768},
        timeout=START_MS,
    )
