"""What operators are told of the login that an instance has: once whenever something of it is another."""

from __future__ import annotations

from bridge.logins.work_dir import Held
from bridge.pool.logins.account import Account
from bridge.pool.logins.login_store import LoginStore, Report
from bridge.status.accounts import AccountState
from bridge.status.logins import LoginProblem, WantedLogin


class LoginReports:
    """`report()` as often as the account may be another. `account` is that of the service which has the login."""

    def __init__(self, account: Account) -> None:
        self.problem = LoginProblem.NONE
        """With putting it into the work dir."""
        self._account = account
        self._worked = False
        self._reported: Report | None = None

    def run_begins(self) -> None:
        """Forget that the login has worked: the new run has to show it again."""
        self._worked = False

    async def report(self, store: LoginStore, held: Held) -> None:
        """Raise StoreAway."""
        facts = self._account.facts
        if facts.state is AccountState.UNKNOWN:
            return
        self._worked = self._worked or facts.state.may_chat
        problem = self.problem
        if facts.state is AccountState.LOGGED_OUT and held.generation and not self._worked:
            problem = LoginProblem.NOT_TAKEN
        await self._send(store, Report(held.login, held.generation, facts.state, facts.expires_at, problem))

    async def report_missing(self, store: LoginStore, wanted: WantedLogin) -> None:
        """The work dir has not got what is wanted: why, if there was trouble with it. Raise StoreAway."""
        # Of the account nobody here knows anything: the service has none, or another one.
        if self.problem is not LoginProblem.NONE:
            report = Report(wanted.login, wanted.generation, AccountState.UNKNOWN, 0.0, self.problem)
            await self._send(store, report)

    async def _send(self, store: LoginStore, report: Report) -> None:
        if report != self._reported:
            await store.report(report)
            self._reported = report

    async def refused(self, store: LoginStore, wanted: WantedLogin) -> None:
        """A service could not use what is wanted. Raise StoreAway."""
        facts = self._account.facts
        await store.report(
            Report(wanted.login, wanted.generation, facts.state, facts.expires_at, LoginProblem.NOT_TAKEN)
        )
