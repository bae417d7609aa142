"""The HTTP side: the login callback, the organisation choice and a stand-in for the login page."""

from __future__ import annotations

import asyncio
import html
from typing import cast
from urllib.parse import parse_qs, quote, urlsplit

from bridge.simulator.state.service_state import ServiceState

HOSTS = {"localhost", "127.0.0.1"}
MAX_HEAD = 65536
STATUS = {200: "OK", 400: "Bad Request", 403: "Forbidden", 404: "Not Found"}
Query = dict[str, str]


class PageEnd(asyncio.Protocol):
    """The HTTP port: it answers one request and closes."""

    def __init__(self, state: ServiceState) -> None:
        self.state = state
        self._held = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Answer when the head is complete, and close."""
        self._held += data
        if b"\r\n\r\n" not in self._held:
            if len(self._held) > MAX_HEAD:
                # Not an answer: whoever sends so much head is no browser.
                self.transport.abort()
            return
        lines = self._held.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
        status, page = self._answer(lines)
        body = page.encode()
        head = (
            f"HTTP/1.1 {status} {STATUS[status]}\r\nContent-Type: text/html; charset=utf-8\r\n"
            f"Content-Length: {len(body)}\r\nAccess-Control-Allow-Origin: *\r\nConnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()

    def _answer(self, lines: list[str]) -> tuple[int, str]:
        method, _, rest = lines[0].partition(" ")
        headers = {
            name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])
        }
        # A page of another site, whose name was made to point here, must not finish a login (DNS rebinding).
        if headers.get("host", "127.0.0.1").partition(":")[0] not in HOSTS:
            return 403, "forbidden host"
        target = urlsplit(rest.rpartition(" ")[0])
        query = {key: values[0] for key, values in parse_qs(target.query).items()}
        page = {
            "/auth/callback": self._callback,
            "/auth/loginWithOrganization": self._with_organization,
            "/lingma/login": self._login_page,
            "/auth/start": self._start,
            "/profile": self._profile,
            "/auth/webview": self._profile,
        }.get(target.path)
        # An upgrade on this port is a client that took the wrong one.
        if page is None or method != "GET" or "upgrade" in headers:
            return 404, "404 page not found"
        return 200, page(query)

    def _callback(self, query: Query) -> str:
        """A failed callback answers 200 too, with a page that says so."""
        attempt = self.state.login.account.attempt(query.get("state", ""))
        if attempt is None or attempt.waiting_for_organization:
            return _page("Login failed", "Invalid login nonce or consumed.")
        if not query.get("auth") or not query.get("token"):
            return _page("Login failed", "auth or token is missing.")
        names = self._organizations()
        if len(names) > 1:
            # The nonce is not used up yet: the choice finishes this login.
            attempt.waiting_for_organization = True
            links = "".join(
                f'<li><a href="/auth/loginWithOrganization?organizationId={quote(name)}&amp;state={attempt.nonce}">'
                f"{html.escape(name)}</a></li>"
                for name in names
            )
            return _page("Choose an organization", f"<ul>{links}</ul>")
        del self.state.login.account.attempts[attempt.nonce]
        self.state.login.log_in(query.get("name", ""))
        return _page("Logged in", "You can close this page.")

    def _organizations(self) -> list[str]:
        return [name.strip() for name in self.state.context.controls.service.organizations.split(",") if name.strip()]

    def _with_organization(self, query: Query) -> str:
        """The state may be left out: then the choice belongs to the only attempt that waits for one."""
        waiting = [a for a in self.state.login.account.attempts.values() if a.waiting_for_organization]
        wanted = [a for a in waiting if query.get("state", a.nonce) == a.nonce]
        chosen = query.get("organizationId", "")
        if not wanted or chosen not in self._organizations():
            return _page("Login failed", "Invalid login nonce or consumed.")
        del self.state.login.account.attempts[wanted[0].nonce]
        self.state.login.log_in(org_id=chosen, org_name=chosen)
        return _page("Logged in", f"Organization {html.escape(chosen)}. You can close this page.")

    def _login_page(self, query: Query) -> str:
        state = quote(query.get("state", ""))
        action = f"/auth/callback?state={state}&amp;auth=simulated-auth&amp;token=simulated-token"
        return _page("Simulated login", f'<p>No account is needed.</p><a id="login" href="{action}">Log in</a>')

    def _start(self, query: Query) -> str:
        options = self.state.context.controls.service
        url = self.state.login.account.begin(self.state.http_port, options.nonce_expires_sec)["loginUrl"]
        return _page("Log in", f'<a href="{html.escape(url)}">Continue</a>')

    def _profile(self, query: Query) -> str:
        user = self.state.login.account.user
        return _page("Profile", html.escape(user.name) if user else "Not logged in.")


def _page(title: str, content: str) -> str:
    return f"<!doctype html><title>{title}</title><h1>{title}</h1>{content}"
