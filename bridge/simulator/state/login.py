"""Logging in and out, which every client is notified of."""

from __future__ import annotations

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

    def log_in(self, name: str = "", **fields: str) -> None:
        """Make a login and push it, in the order of the service."""
        self.account.log_in(name or self.context.controls.service.user, **fields)
        # First the endpoint, last the status (PROTOCOL 7.5).
        self.clients.broadcast("config/changeEndpoint", {"endpoint": self.endpoint})
        self.clients.broadcast("model/refresh", {})
        self.clients.broadcast("config/refreshModels", {})
        self.clients.broadcast("auth/report", self.account.status())

    def log_out(self) -> None:
        """End the login, and push that to every client."""
        self.account.log_out()
        self.clients.broadcast("auth/report", self.account.status())

    def renew_tokens(self, **fields: str) -> User | None:
        """Fresh tokens for the present login, pushed to all; None when logged out."""
        user = self.account.renew(**fields)
        if user:
            params = {"status": 0, "token": user.token, "refreshToken": user.refresh_token,
                      "expireTime": user.expire_time, "id": user.uid}  # fmt: skip
            self.clients.broadcast("auth/syncTokenUpdate", params)
        return user

    def follow_controls(self, before: str) -> None:
        """Do what the option `login` asks for, which was `before`."""
        wanted = self.context.controls.service.login
        if wanted == "auto" and not self.account.user:
            self.log_in()
        # Only at the change: somebody may log in again while the option still says `out`.
        elif wanted == "out" and before != "out" and self.account.user:
            self.log_out()

    def refused(self) -> bool:
        """Nobody may ask: logged out, or reported so by the options."""
        return not self.account.user or self.context.controls.service.auth_status not in (0, 2)
