"""What instances ask of the store of logins, which every process of the gateway uses."""

from __future__ import annotations

from typing import Protocol

import msgspec

from bridge.logins.bundle import Bundle
from bridge.logins.work_dir import Held
from bridge.status.accounts import AccountState
from bridge.status.attempts import AttemptResult
from bridge.status.logins import LoginProblem


class Delivery(msgspec.Struct, frozen=True):
    """Files of a login."""

    login: int
    generation: int
    bundle: Bundle


class Report(msgspec.Struct, frozen=True):
    """The login that an instance has, with the state of its account, as it is reported to the store.

    Of an account that is UNKNOWN what is known so far stays: the instance should have that login, and has it not.
    """

    login: int
    generation: int
    account: AccountState
    expires_at: float
    problem: LoginProblem = LoginProblem.NONE


class StoreAway(Exception):
    """The store cannot be used now."""


class LoginStore(Protocol):
    """Each method raises StoreAway, after a few seconds at most."""

    async def deliver(self, login: int) -> Delivery | None:
        """Its newest files; None: they cannot be read, which is known to operators then."""

    async def keep(self, held: Held, bundle: Bundle, expires_at: float) -> int | None:
        """Store what a service has made of the login it holds. The generation it became; None: there is a newer one."""

    async def report(self, report: Report) -> None:
        """Tell operators."""

    async def not_renewed(self, held: Held, result: AttemptResult) -> None:
        """Put into the history of the login that its service could not renew it, or has only said so."""
