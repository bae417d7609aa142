"""A service that is started beside an instance to take its place: proved first, so that nobody misses the other one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, MutableSequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

from bridge.pool.disk import Disk
from bridge.pool.instances import work_dirs
from bridge.pool.instances.instance import Instance
from bridge.pool.late_usages import LateUsages
from bridge.pool.members import Members
from bridge.pool.options import InstanceOptions
from bridge.pool.upkeep.smoke import Smoke, model_of, smoke_chat
from gateway_project.lib.secrets.random_bytes import random_bytes

logger = logging.getLogger(__name__)

POLL_SEC: Final = 0.1
LATE_SEC: Final = 5.0

_new_id = random_bytes(16)


class SuccessorRejected(Exception):
    """The successor does not take over. `of_login`: it could be started, but its account is of no use."""

    def __init__(self, why: str, *, of_login: bool = False) -> None:
        super().__init__(why)
        self.of_login = of_login


class Successor:
    """`prove()`, `note()`, `take_over()`, `retire()`; or `throw_away()` after what went wrong before it has taken over.

    `first` is the work dir that the instance began with, `changed` is set by each change of the successor.
    """

    def __init__(
        self, before: Instance, instance: Instance, first: Path, members: Members, options: InstanceOptions,
        changed: asyncio.Event,
    ) -> None:  # fmt: skip
        self.before = before
        self.instance = instance
        self._first = first
        self._members = members
        self._options = options
        self._changed = changed

    @property
    def is_unwanted(self) -> bool:
        """Operators want none of them to run."""
        return self.instance.is_stopped

    async def prove(self, disk: Disk) -> None:
        """Until it may take over. Raise SuccessorRejected."""
        await self._fill_work_dir(disk)
        self._members.start(self.instance)
        await self._until_usable()
        if not self.instance.login.is_wanted:
            raise SuccessorRejected("its login could not be put into its work dir")
        if self._has_to_chat:
            await self.chat()

    async def chat(self) -> None:
        """One short chat, if that is wanted. Raise SuccessorRejected."""
        if not self._options.smoke_model:
            return
        smoke = await self._asked(self.instance)
        self.instance.smokes.last = smoke.report(self.instance, self.before.smokes.last)
        if smoke.result.ok or (smoke.has_no_plan and await self._is_no_loss()):
            return
        why = smoke.result.error or "it answered nothing"
        # A login that works may be busy, or without a plan; what else goes wrong is mended by a login as a rule.
        raise SuccessorRejected(f"it does not answer: {why}", of_login=not (smoke.is_busy or smoke.has_no_plan))

    async def _asked(self, instance: Instance) -> Smoke:
        model = model_of(instance, self._options.smoke_model)
        return await smoke_chat(instance, model, lambda: _new_id().hex(), self._options.smoke_sec)

    async def _is_no_loss(self) -> bool:
        """It has no plan: nor has the one before. One that has a plan is not pushed out by a login without."""
        if not self._has_to_chat:
            return False
        return self.instance.held_login == self.before.held_login or (await self._asked(self.before)).has_no_plan

    async def note(self, disk: Disk) -> None:
        """It has proved itself: a start after any end of the gateway finds the login where it works."""
        try:
            await disk.run(partial(work_dirs.use, self._first, self._dir))
        except (OSError, TimeoutError) as exc:
            logger.warning("%s: its work dir cannot be noted: %s", self.before.name, str(exc) or "no answer")

    def take_over(self, instances: MutableSequence[Instance]) -> None:
        """From here on turns are its own."""
        self.instance.succeed(self.before)
        self._members.retired[self.before.name] = self.before
        instances[instances.index(self.before)] = self.instance

    async def retire(self, late_usages: LateUsages, disk: Disk, in_a_hurry: Callable[[], bool]) -> None:
        """End the one before when its turns have ended, or time is up: sooner when that is asked for."""
        before, loop = self.before, asyncio.get_running_loop()
        began, idle_since = loop.time(), loop.time()
        while True:
            now = loop.time()
            if before.in_flight:
                idle_since = now
            most = self._options.drain if self.is_unwanted or in_a_hurry() else self._options.retire
            # What the turns have cost may still come into the log.
            is_done = not before.in_flight and (not late_usages.waits_for(before.log) or now - idle_since >= LATE_SEC)
            if is_done or now - began >= most:
                break
            await asyncio.sleep(POLL_SEC)
        await self._end(before, disk)

    async def throw_away(self, disk: Disk) -> None:
        await self._end(self.instance, disk)

    async def _end(self, instance: Instance, disk: Disk) -> None:
        await self._members.end(instance)
        if instance.work_dir is not None:
            with suppress(OSError, TimeoutError):
                await disk.run(partial(work_dirs.forget_login, instance.work_dir))

    @property
    def _has_to_chat(self) -> bool:
        """Where the other one can serve nothing, it takes over as it is: nothing is lost by that."""
        return self.before.account.may_chat and not self.before.login.is_taken_away

    @property
    def _dir(self) -> Path:
        assert self.instance.work_dir is not None  # noqa: S101 - it was made with one
        return self.instance.work_dir

    async def _fill_work_dir(self, disk: Disk) -> None:
        assert self.before.work_dir is not None  # noqa: S101 - what has none is not replaced
        try:
            await disk.run(partial(work_dirs.clone, self.before.work_dir, self._dir))
        except (OSError, TimeoutError) as exc:
            raise SuccessorRejected(f"its work dir cannot be prepared: {exc or 'the disk does not answer'}") from exc

    async def _until_usable(self) -> None:
        try:
            async with asyncio.timeout(self._options.start_timeout):
                while not self._is_usable():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            error = self.instance.incidents.last_error
            why = f"not ready within {self._options.start_timeout:g} s{error and f': {error}'}"
            raise SuccessorRejected(why, of_login=self.instance.is_connected) from None

    def _is_usable(self) -> bool:
        if self.is_unwanted:
            raise SuccessorRejected("nobody wants it any more")
        may_chat = self.instance.account.may_chat or not self._has_to_chat
        return self.instance.is_connected and may_chat
