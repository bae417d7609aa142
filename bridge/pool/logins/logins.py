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
from typing import Final

from bridge.lingma.process.log_tail import LogTail
from bridge.logins import work_dir
from bridge.logins.work_dir import Held
from bridge.pool.disk import Disk
from bridge.pool.logins.account import Account
from bridge.pool.logins.login_reports import LoginReports
from bridge.pool.logins.login_store import LoginStore, StoreAway
from bridge.pool.logins.login_wish import LoginWish
from bridge.pool.logins.renewals import Renewals
from bridge.pool.logins.written_login import WrittenLogin
from bridge.status.accounts import Remedy
from bridge.status.logins import LoginProblem, WantedLogin

logger = logging.getLogger(__name__)

GIVEN_SEC: Final = 30.0  # a login is given within seconds, or not at all
RENEWAL_SEC: Final = 180.0  # as long a login that makes itself again is waited for: a browser may need minutes


class InstanceLogin:
    """`prepare()` before each start of the service, `tick()` each second. An attached service has none."""

    def __init__(self, name: str, directory: Path | None, account: Account) -> None:
        self.held: Held | None = None
        """What the work dir has."""
        self.wish = LoginWish()
        self.store: LoginStore | None = None
        self.is_expected = False
        """Where it has none, it is about to be given one."""
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
        self._written = WrittenLogin()
        self._reports = LoginReports(account)
        self._renewals = Renewals()

    @property
    def endpoint(self) -> str:
        """Of the login in the work dir; "" where it has none of its own."""
        return self.held.endpoint if self.held is not None else ""

    @property
    def may_be_given(self) -> bool:
        """It has none of ours, and not because operators have taken it away. An attached service keeps its own."""
        wish = self.wish
        return self._dir is not None and wish.is_known.is_set() and wish.login is None and not wish.was_taken

    def back_in(self, lost_for: float) -> float:
        """Seconds until it may be there again without a person, lost for so many; infinity: nobody knows."""
        # An attached service is logged in where it runs.
        if self._dir is None:
            return math.inf
        # Also between the order and its files: then a successor is awaited.
        if self.is_expected and self.held is None and not self.wish.was_taken and lost_for < GIVEN_SEC:
            return 0.0
        if self.wish.login is None:
            return math.inf
        due = self.wish.login.renewed_from - time.time()
        if due > 0:
            return due
        # Where nothing comes of it for long, everybody would wait in vain.
        return 0.0 if min(lost_for, -due) < RENEWAL_SEC else math.inf

    def must_restart(self) -> bool:
        """Another service has to take the place of this one: another login is wanted, and at hand."""
        # What does not run takes the login at its next start.
        if self._dir is None or not self.wish.is_known.is_set() or not self.is_connected():
            return False
        wanted = self.wish.login
        if wanted is None:
            return self.held is not None
        return self._is_other(wanted) and (not wanted.generation or self.wish.has_files(wanted))

    def succeed(self, before: InstanceLogin) -> None:
        """Want what the instance wants that this one's is to take the place of; its files need not be fetched again."""
        self.store = before.store
        self.wish.succeed(before.wish)

    @property
    def is_wanted(self) -> bool:
        """The work dir holds what is wanted, or what is as good."""
        if not self.wish.is_known.is_set():
            return True
        return self.held is None if self.wish.login is None else not self._is_other(self.wish.login)

    @property
    def is_taken_away(self) -> bool:
        """Nobody shall be logged in with what the work dir holds, nor with anything else that is at hand."""
        wanted, held = self.wish.login, self.held
        if held is None or not self.wish.is_known.is_set():
            return False
        return wanted is None or (held.login != wanted.login and not wanted.generation)

    async def report_refused(self) -> None:
        """Tell operators that a service could not use what is wanted. Raise StoreAway."""
        if self.store is not None and self.wish.login is not None:
            await self._reports.refused(self.store, self.wish.login)

    async def prepare(self, within: float) -> None:
        """Before the service starts, have its work dir hold what is wanted. What cannot be done is told, not raised.

        `within`: seconds to wait until it is known what is wanted.
        """
        if self._dir is None:
            return
        if not self.wish.is_known.is_set() and within:
            with suppress(TimeoutError):
                async with asyncio.timeout(within):
                    await self.wish.is_known.wait()
        async with self._lock:
            try:
                await self._prepare(self._dir)
            except StoreAway:
                logger.warning("%s: its login cannot be read now; it starts with what it has", self._name)
            except (OSError, TimeoutError) as exc:
                logger.warning("%s: its login cannot be put into its work dir: %s", self._name, str(exc) or "no answer")
                self._reports.problem = LoginProblem.NOT_WRITTEN

    async def _prepare(self, directory: Path) -> None:
        self._written = WrittenLogin()
        self._reports.run_begins()
        self.held = await self._disk.run(partial(work_dir.held_in, directory))
        wanted = self.wish.login
        if not self.wish.is_known.is_set():
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
            delivery = await self.wish.files(self.store, wanted)
            if delivery is None:
                return
            held = Held(wanted.login, delivery.generation, delivery.bundle.digest, wanted.endpoint,
                        tuple(delivery.bundle.files))  # fmt: skip
            self.held = None  # what was there before is taken away first, and half of a login is none
            await self._disk.run(partial(work_dir.put, directory, delivery.bundle, held))
        self.wish.files_used()
        self._reports.problem = LoginProblem.NONE
        self.held = held
        # What was read of the account before is about another login.
        self._account.forget()
        logger.info("%s: has generation %d of login %d", self._name, held.generation, held.login)

    async def tick(self) -> None:
        """Fetch what is wanted, store what the service has written, report. Raise StoreAway."""
        # A start that is being prepared waits for the store itself.
        if self._dir is None or self.store is None or not self.wish.is_known.is_set() or self._lock.locked():
            return
        async with self._lock:
            wanted = self.wish.login
            if wanted is not None and wanted.generation and self._is_other(wanted):
                await self.wish.files(self.store, wanted)
            if self.held is not None:
                try:
                    await self._look(self._dir, self.held)
                except (OSError, TimeoutError) as exc:
                    logger.warning("%s: its login cannot be looked at: %s", self._name, str(exc) or "no answer")
                if self.is_connected():
                    await self._reports.report(self.store, self.held)
                await self._watch_renewals(self.held)
            elif wanted is not None:
                await self._reports.report_missing(self.store, wanted)

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

    async def _look(self, directory: Path, held: Held) -> None:
        """Store a login that the service has written, when both files have been as they are for a while."""
        assert self.store is not None  # noqa: S101 - `tick` has looked
        seen, now = await self._disk.run(partial(work_dir.stamp_of, directory)), time.monotonic()
        if self._written.look(seen, now):
            self.wake()  # the account is read anew: how long does this login last
            return
        account = self._account
        if not self._written.is_due(now):
            return
        if not self.is_connected() or not account.may_chat or account.facts_at < self._written.changed_at:
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
        self._written.stored()

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
