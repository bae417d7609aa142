"""Logging in and out, which every client is notified of."""

from __future__ import annotations

import time
from typing import Any

from bridge.simulator.process.context import Context
from bridge.simulator.protocol.clients import Clients
from bridge.simulator.state.account import Account, User


class Login:
    """The account of the process. `endpoint` is the one that a client has set."""

    def __init__(self, context: Context, clients: Clients) -> None:
        options = context.controls.service
        self.context, self.clients = context, clients
        self.account = Account(context.root, context.ids, context.log.write, token_days=options.token_days)
        self.endpoint = ""
        self._next_renewal = 0.0

    def status(self) -> dict[str, Any]:
        """The result of `auth/status`."""
        options = self.context.controls.service
        return self.account.status(options.auth_status, options.whitelist)

    def log_in(self, name: str = "", expire_time: int = 0, **fields: str) -> None:
        """Make a login and push it, in the order of the service."""
        self.account.log_in(name or self.context.controls.service.user, expire_time, **fields)
        self._next_renewal = 0.0  # the pause was that of the login before
        # First the endpoint, last the status (PROTOCOL 7.5).
        self.clients.broadcast("config/changeEndpoint", {"endpoint": self.endpoint})
        self.clients.broadcast("model/refresh", {})
        self.clients.broadcast("config/refreshModels", {})
        self.clients.broadcast("auth/report", self.status())

    def log_out(self) -> None:
        """End the login, and push that to every client."""
        self.account.log_out()
        self.clients.broadcast("auth/report", self.status())

    def renew_tokens(self) -> User | None:
        """Fresh tokens and a later end for the present login, pushed to all; None when logged out."""
        return self._pushed(self.account.renew())

    def store_tokens(self, token: str, refresh_token: str, expire_time: int) -> User | None:
        """Keep what a client gives, and push it to all; None when logged out."""
        self._next_renewal = 0.0
        return self._pushed(self.account.store(token, refresh_token, expire_time))

    def _pushed(self, user: User | None) -> User | None:
        if user:
            params = {"status": 0, "token": user.token, "refreshToken": user.refresh_token,
                      "expireTime": user.expire_time, "id": user.uid}  # fmt: skip
            self.clients.broadcast("auth/syncTokenUpdate", params)
        return user

    def watch_expiry(self) -> None:
        """What the service does by itself: it renews a login that ends soon, and logs out at its end (PROTOCOL 7.4)."""
        options, left, now = self.context.controls.service, self.account.seconds_left, time.monotonic()
        if left <= 0:
            self.log_out()
        elif left <= options.renewal_sec and options.renewal != "never" and now >= self._next_renewal:
            self._next_renewal = now + self._try_renewal(works=options.renewal == "works")

    def _try_renewal(self, *, works: bool) -> float:
        """A failure is logged and nothing else. Return in how many seconds it may be tried again."""
        if not works:
            self.context.log.write("Renew token got error from auth server")
            return self.context.controls.service.renewal_every_sec
        if user := self.renew_tokens():
            self.context.log.write(f"renew token success. new expire time: {user.expire_time}")
        return self.account.seconds_left / 2

    def follow_controls(self, before: str) -> None:
        """Do what the option `login` asks for, which was `before`."""
        wanted = self.context.controls.service.login
        if wanted == "auto" and not self.account.user:
            self.log_in()
        # Only at the change: somebody may log in again while the option still says `out`.
        elif wanted == "out" and before != "out" and self.account.user:
            self.log_out()

    def organizations(self) -> list[str]:
        """Those that a login may be for; with two or more, one has to be chosen."""
        return [name for part in self.context.controls.service.organizations.split(",") if (name := part.strip())]

    def refused(self) -> bool:
        """Nobody may ask: logged out, or reported so by the options."""
        options = self.context.controls.service
        return not self.account.user or options.auth_status not in (0, 2) or options.whitelist not in (0, 3)
