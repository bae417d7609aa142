"""The HTTP side: the login callback, the organisation choice, and the pages of a browser's login."""

from __future__ import annotations

import asyncio
import html
from typing import cast
from urllib.parse import parse_qs, quote, urlsplit

from bridge.simulator.methods.sign_in import SignIn
from bridge.simulator.methods.web_page import Answer, Query, page
from bridge.simulator.state.service_state import ServiceState

HOSTS = {"localhost", "127.0.0.1"}
MOST = 65536  # bytes of a head, and of a form
STATUS = {200: "OK", 302: "Found", 400: "Bad Request", 403: "Forbidden", 404: "Not Found"}


class PageEnd(asyncio.Protocol):
    """The HTTP port: it answers one request and closes."""

    def __init__(self, state: ServiceState) -> None:
        self.state = state
        self._sign_in = SignIn(state)
        self._held = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Answer when head and form are complete, and close."""
        self._held += data
        head, end, body = self._held.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        headers = {
            name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])
        }
        length = headers.get("content-length", "0")
        wanted = int(length) if length.isdecimal() else 0
        if len(head) > MOST or wanted > MOST:
            # Not an answer: whoever sends so much is no browser.
            self.transport.abort()
        elif end and len(body) >= wanted:
            form = {key: values[0] for key, values in parse_qs(body[:wanted].decode("latin-1")).items()}
            answer = self._answer(lines[0], headers, form)
            # Only the pages of the other host are slow; the callback is the service's own.
            slow = lines[0].partition(" ")[2].startswith("/lingma/")
            pause = self.state.context.controls.service.sign_in_ms / 1000 if slow else 0
            self.state.context.loop.call_later(pause, self._send, answer)

    def _send(self, answer: Answer) -> None:
        body = answer.page.encode()
        location = f"Location: {answer.location}\r\n" if answer.location else ""
        head = (
            f"HTTP/1.1 {answer.status} {STATUS[answer.status]}\r\nContent-Type: text/html; charset=utf-8\r\n{location}"
            f"Content-Length: {len(body)}\r\nAccess-Control-Allow-Origin: *\r\nConnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()

    def _answer(self, request: str, headers: Query, form: Query) -> Answer:
        method, _, rest = request.partition(" ")
        # A page of another site, whose name was made to point here, must not finish a login (DNS rebinding).
        if headers.get("host", "127.0.0.1").partition(":")[0] not in HOSTS:
            return Answer(403, "forbidden host")
        target = urlsplit(rest.rpartition(" ")[0])
        query = {key: values[0] for key, values in parse_qs(target.query).items()}
        if method == "POST" and (submit := self._sign_in.forms.get(target.path)):
            return submit(query, form)
        found = {
            "/auth/callback": self._callback,
            "/auth/loginWithOrganization": self._with_organization,
            "/lingma/login": self._sign_in.page,
            "/auth/start": self._start,
            "/profile": self._profile,
            "/auth/webview": self._profile,
        }.get(target.path)
        # An upgrade on this port is a client that took the wrong one.
        if found is None or method != "GET" or "upgrade" in headers:
            return Answer(404, "404 page not found")
        return Answer(200, found(query))

    def _callback(self, query: Query) -> str:
        """A failed callback answers 200 too, with a page that says so."""
        attempt = self.state.login.account.attempt(query.get("state", ""))
        if attempt is None or attempt.waiting_for_organization:
            return page("Login failed", "Invalid login nonce or consumed.")
        if not query.get("auth") or not query.get("token"):
            return page("Login failed", "auth or token is missing.")
        names = self.state.login.organizations()
        if len(names) > 1:
            # The nonce is not used up yet: the choice finishes this login.
            attempt.waiting_for_organization = True
            links = "".join(
                f'<li><a href="/auth/loginWithOrganization?organizationId={quote(name)}&amp;state={attempt.nonce}">'
                f"{html.escape(name)}</a></li>"
                for name in names
            )
            return page("Choose an organization", f"<ul>{links}</ul>")
        del self.state.login.account.attempts[attempt.nonce]
        self.state.login.log_in(query.get("name", ""))
        return page("Logged in", "You can close this page.")

    def _with_organization(self, query: Query) -> str:
        """The state may be left out: then the choice belongs to the only attempt that waits for one."""
        waiting = [a for a in self.state.login.account.attempts.values() if a.waiting_for_organization]
        account = self.state.login.account
        wanted = [a for a in waiting if query.get("state", a.nonce) == a.nonce and account.attempt(a.nonce)]
        chosen = query.get("organizationId", "")
        if not wanted or chosen not in self.state.login.organizations():
            return page("Login failed", "Invalid login nonce or consumed.")
        del self.state.login.account.attempts[wanted[0].nonce]
        self.state.login.log_in(org_id=chosen, org_name=chosen)
        return page("Logged in", f"Organization {html.escape(chosen)}. You can close this page.")

    def _start(self, query: Query) -> str:
        options = self.state.context.controls.service
        url = self.state.login.account.begin(self.state.http_port, options.nonce_expires_sec)["loginUrl"]
        return page("Log in", f'<a href="{html.escape(url)}">Continue</a>')

    def _profile(self, query: Query) -> str:
        user = self.state.login.account.user
        return page("Profile", html.escape(user.name) if user else "Not logged in.")
