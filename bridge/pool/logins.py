"""The login of one instance: put into its work dir before a start, watched while it runs, handed over when it changes.

Which login an instance is to use, and its files, come from a store that every process of the gateway uses.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final, Protocol

import msgspec

from bridge.lingma.process.log_tail import LogTail
from bridge.logins import work_dir
from bridge.logins.bundle import Bundle
from bridge.logins.work_dir import Held, Stamp
from bridge.pool.account import Account
from bridge.pool.disk import Disk
from bridge.pool.renewals import Renewals
from bridge.status.accounts import AccountState, Remedy
from bridge.status.attempts import AttemptResult
from bridge.status.logins import LoginProblem, WantedLogin

logger = logging.getLogger(__name__)

STABLE_SEC: Final = 3.0  # for which both files have not changed (PROTOCOL 3.2)
RENEWAL_SEC: Final = 180.0  # as long a login that makes itself again is waited for: a browser may need minutes
AGAIN_SEC: Final = 60.0  # until files that cannot be read are asked for once more


class Delivery(msgspec.Struct, frozen=True):
    """Files of a login."""

    login: int
    generation: int
    bundle: Bundle


class Report(msgspec.Struct, frozen=True):
    """What an instance tells of the login it has."""

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


class InstanceLogin:
    """`prepare()` before each start of the service, `tick()` each second. An attached service has none."""

    def __init__(self, name: str, directory: Path | None, account: Account) -> None:
        self.held: Held | None = None
        """What the work dir has."""
        self.wanted: WantedLogin | None = None
        self.known = asyncio.Event()
        """Set as soon as it is known what is wanted: until then the work dir keeps what it has."""
        self.store: LoginStore | None = None
        self.is_connected: Callable[[], bool] = lambda: False
        """Whether the account is that of the service that runs now."""
        self.wake: Callable[[], None] = lambda: None
        """Has the account read."""
        self.log: Callable[[], LogTail | None] = lambda: None
        """That of the service that runs now."""
        self._name = name
        self._dir = directory
        self._account = account
        self._disk = Disk("login")
        self._lock = asyncio.Lock()
        self._delivery: Delivery | None = None
        self._asked: tuple[WantedLogin, float] | None = None
        self._seen: Stamp | None = None
        self._seen_at = math.inf
        self._looked_at: Stamp | None = None
        self._worked = False
        self._problem = LoginProblem.NONE
        self._reported: Report | None = None
        self._renewals = Renewals()

    @property
    def endpoint(self) -> str:
        """Of the login in the work dir; "" where it has none of its own."""
        return self.held.endpoint if self.held is not None else ""

    def back_in(self, lost_for: float) -> float:
        """Seconds until it may be there again without a person, lost for so many; infinity: nobody knows."""
        # An attached service is logged in where it runs.
        if self._dir is None or self.wanted is None:
            return math.inf
        due = self.wanted.renewed_from - time.time()
        if due > 0:
            return due
        # Where nothing comes of it for long, everybody would wait in vain.
        return 0.0 if min(lost_for, -due) < RENEWAL_SEC else math.inf

    def must_restart(self) -> bool:
        """Another service has to take the place of this one: another login is wanted, and at hand."""
        # What does not run takes the login at its next start.
        if self._dir is None or not self.known.is_set() or not self.is_connected():
            return False
        wanted = self.wanted
        if wanted is None:
            return self.held is not None
        return self._is_other(wanted) and (not wanted.generation or self._has(wanted))

    def succeed(self, before: InstanceLogin) -> None:
        """Want what the instance wants that this one's is to take the place of; its files need not be fetched again."""
        self.wanted, self.store, self._delivery = before.wanted, before.store, before._delivery
        if before.known.is_set():
            self.known.set()

    @property
    def is_wanted(self) -> bool:
        """The work dir holds what is wanted, or what is as good."""
        if not self.known.is_set():
            return True
        return self.held is None if self.wanted is None else not self._is_other(self.wanted)

    @property
    def is_taken_away(self) -> bool:
        """Nobody shall be logged in with what the work dir holds, nor with anything else that is at hand."""
        wanted, held = self.wanted, self.held
        if held is None or not self.known.is_set():
            return False
        return wanted is None or (held.login != wanted.login and not wanted.generation)

    async def report_refused(self) -> None:
        """Tell operators that a service could not use what is wanted. Raise StoreAway."""
        wanted, facts = self.wanted, self._account.facts
        if self.store is not None and wanted is not None:
            await self.store.report(
                Report(wanted.login, wanted.generation, facts.state, facts.expires_at, LoginProblem.NOT_TAKEN)
            )

    async def prepare(self, within: float) -> None:
        """Before the service starts, have its work dir hold what is wanted. What cannot be done is told, not raised.

        `within`: seconds to wait until it is known what is wanted.
        """
        if self._dir is None:
            return
        if not self.known.is_set() and within:
            with suppress(TimeoutError):
                async with asyncio.timeout(within):
                    await self.known.wait()
        async with self._lock:
            try:
                await self._prepare(self._dir)
            except StoreAway:
                logger.warning("%s: its login cannot be read now; it starts with what it has", self._name)
            except (OSError, TimeoutError) as exc:
                logger.warning("%s: its login cannot be put into its work dir: %s", self._name, str(exc) or "no answer")
                self._problem = LoginProblem.NOT_WRITTEN

    async def _prepare(self, directory: Path) -> None:
        self._seen, self._seen_at, self._looked_at, self._worked = None, math.inf, None, False
        self.held = await self._disk.run(partial(work_dir.held_in, directory))
        wanted = self.wanted
        if not self.known.is_set():
            return
        if self.held is not None and self.is_taken_away:
            await self._disk.run(partial(work_dir.remove, directory, self.held.files))
            self.held = None
            self._account.forget()
        if wanted is None or (self.held is not None and self._fits(self.held, wanted)):
            return
        if not wanted.generation:
            # Whatever login the service has or gets is stored as the first of this one.
            held = Held(wanted.login, 0, "", wanted.endpoint)
            await self._disk.run(partial(work_dir.note, directory, held))
        else:
            delivery = self._delivery if self._has(wanted) else await self._deliver(wanted)
            if delivery is None:
                return
            held = Held(wanted.login, delivery.generation, delivery.bundle.digest, wanted.endpoint,
                        tuple(delivery.bundle.files))  # fmt: skip
            await self._disk.run(partial(work_dir.put, directory, delivery.bundle, held))
        self._delivery, self._problem = None, LoginProblem.NONE
        self.held = held
        # What was read of the account before is about another login.
        self._account.forget()
        logger.info("%s: has generation %d of login %d", self._name, held.generation, held.login)

    async def tick(self) -> None:
        """Fetch what is wanted, store what the service has written, report. Raise StoreAway."""
        # A start that is being prepared waits for the store itself.
        if self._dir is None or self.store is None or not self.known.is_set() or self._lock.locked():
            return
        async with self._lock:
            wanted = self.wanted
            if wanted is not None and wanted.generation and self._is_other(wanted) and not self._has(wanted):
                await self._deliver(wanted)
            if self.held is not None:
                try:
                    await self._look(self._dir, self.held)
                except (OSError, TimeoutError) as exc:
                    logger.warning("%s: its login cannot be looked at: %s", self._name, str(exc) or "no answer")
                await self._report(self.held)
                await self._watch_renewals(self.held)

    def close(self) -> None:
        self._disk.close()

    def _fits(self, held: Held, wanted: WantedLogin) -> bool:
        # A generation that is not known here yet is one that this instance has stored itself.
        same = held.login == wanted.login and held.endpoint == wanted.endpoint
        return same and held.generation >= wanted.generation

    def _is_other(self, wanted: WantedLogin) -> bool:
        """Whether the run should end for what is wanted. Not for each generation: the service of another instance may
        have written its files anew without any gain for this one, and each restart might lead to the next.
        """
        held = self.held
        if held is None or held.login != wanted.login or held.endpoint != wanted.endpoint:
            return True
        if held.generation >= wanted.generation:
            return False
        if held.generation < wanted.brought_generation:
            return True
        facts = self._account.facts
        is_lost = facts.state.remedy is Remedy.LOGIN
        return self.is_connected() and (is_lost or wanted.expires_at > facts.expires_at + 1)

    def _has(self, wanted: WantedLogin) -> bool:
        found = self._delivery
        return found is not None and found.login == wanted.login and found.generation >= wanted.generation

    async def _deliver(self, wanted: WantedLogin) -> Delivery | None:
        now = time.monotonic()
        if self.store is None or (self._asked is not None and self._asked[0] == wanted and now < self._asked[1]):
            return None
        found = await self.store.deliver(wanted.login)
        # Files that cannot be read are not asked for each second.
        self._asked = (wanted, now + AGAIN_SEC) if found is None else None
        self._delivery = found
        return found

    async def _look(self, directory: Path, held: Held) -> None:
        """Store a login that the service has written, when both files have been as they are for a while."""
        assert self.store is not None  # noqa: S101 - `tick` has looked
        seen, now = await self._disk.run(partial(work_dir.stamp_of, directory)), time.monotonic()
        if seen != self._seen:
            self._seen, self._seen_at = seen, now
            self.wake()  # the account is read anew: how long does this login last
            return
        account = self._account
        if seen is None or seen == self._looked_at or now - self._seen_at < STABLE_SEC:
            return
        if not self.is_connected() or not account.may_chat or account.facts_at < self._seen_at:
            return
        bundle = await self._disk.run(partial(work_dir.read, directory, held.files))
        if bundle is None or await self._disk.run(partial(work_dir.stamp_of, directory)) != seen:
            return
        if bundle.digest != held.digest:
            generation = await self.store.keep(held, bundle, account.facts.expires_at)
            if generation is None:
                logger.info("%s: what it has of login %d is older than what is stored", self._name, held.login)
            else:
                self.held = Held(held.login, generation, bundle.digest, held.endpoint, tuple(bundle.files))
                await self._disk.run(partial(work_dir.note, directory, self.held))
        self._looked_at = seen

    async def _watch_renewals(self, held: Held) -> None:
        """What the log says is a hint, and no more: the end of the login tells."""
        assert self.store is not None  # noqa: S101 - `tick` has looked
        before = self._renewals.is_claimed
        result = self._renewals.look(self.log(), self._account.facts.expires_at, time.monotonic())
        if self._renewals.is_claimed and not before:
            self.wake()
        if result is not None:
            logger.warning("%s: login %d: %s", self._name, held.login, result.label)
            await self.store.not_renewed(held, result)

    async def _report(self, held: Held) -> None:
        assert self.store is not None  # noqa: S101 - `tick` has looked
        facts = self._account.facts
        if not self.is_connected() or facts.state is AccountState.UNKNOWN:
            return
        self._worked = self._worked or facts.state.may_chat
        problem = self._problem
        if facts.state is AccountState.LOGGED_OUT and held.generation and not self._worked:
            problem = LoginProblem.NOT_TAKEN
        report = Report(held.login, held.generation, facts.state, facts.expires_at, problem)
        if report != self._reported:
            await self.store.report(report)
            self._reported = report
