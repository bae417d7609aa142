"""Instances are replaced without a gap: which of them, when, and how often it is tried.

One at a time in a process, so that its memory holds one service more than usual, and one at a time for a login.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, Final, Protocol

import msgspec

from bridge.pool.disk import Disk
from bridge.pool.instances import work_dirs
from bridge.pool.instances.instance import Instance
from bridge.pool.late_usages import LateUsages
from bridge.pool.logins.login_store import StoreAway
from bridge.pool.members import Members
from bridge.pool.options import InstanceOptions, InstanceSpec
from bridge.pool.policy import replacement_pause
from bridge.pool.upkeep.successor import Successor, SuccessorRejected
from bridge.status.transitions import TransitionReason
from bridge.telemetry import metrics
from gateway_project.lib.background import until_next
from gateway_project.lib.texts import gettext_noop

logger = logging.getLogger(__name__)

LOOK_SEC: Final = 1.0
KEEP_SEC: Final = 5.0  # between two renewals of the lease

ANOTHER_KIND: Final = gettext_noop("another program is wanted")
A_RESTART: Final = gettext_noop("a restart is ordered")
ANOTHER_LOGIN: Final = gettext_noop("another login is wanted")
Make = Callable[[str, InstanceSpec, Callable[[], None]], Instance]
"""An instance of that name, not started; the last is called with each change."""
Keeping = Callable[[Coroutine[Any, Any, None]], Coroutine[Any, Any, None]]
"""Does the work as long as the lease can be kept."""


class ReplacementLease(Protocol):
    """The right to replace an instance of a login, over all processes. It ends by itself with its process."""

    async def take(self, login: int, generation: int) -> bool:
        """Have it, or keep it; False: another process has it, or has had it for a newer generation."""

    async def give_back(self, login: int) -> None:
        """Let another process have it."""


class Unshared:
    """The lease of replacements for a process without others: it always has it."""

    async def take(self, _login: int, _generation: int) -> bool:
        return True

    async def give_back(self, _login: int) -> None:
        """Nobody waits for it."""


class Reason(msgspec.Struct, frozen=True):
    """The reason why an instance is replaced. After a failure only another reason is tried at once."""

    words: str
    restart_before: float
    login: int
    """Its id; 0: none is wanted."""
    generation: int
    endpoint: str
    spec: InstanceSpec | None
    cleared_at: float


class _Tries(msgspec.Struct):
    reason: Reason
    failed: int = 0
    again_at: float = 0.0


class Replacements:
    """`follow()` replaces what has to be replaced, until it is cancelled.

    `specs` are by name, each with the work dir that its instance begins with; `changed` is called when another
    instance has a place, or one begins or ends to be replaced.
    """

    def __init__(
        self, members: Members, specs: Mapping[str, InstanceSpec], make: Make, options: InstanceOptions,
        late_usages: LateUsages, changed: Callable[[], None],
    ) -> None:  # fmt: skip
        self.lease: ReplacementLease = Unshared()
        self._members = members
        self._specs = dict(specs)
        self._make = make
        self._options = options
        self._late_usages = late_usages
        self._changed = changed
        self._asked: dict[str, InstanceSpec] = {}
        self._wanted: dict[str, InstanceSpec] = {}
        self._tries: dict[str, _Tries] = {}
        self._wake = asyncio.Event()
        self._disk = Disk("successor")
        self._is_tidy = False

    def ask_for(self, name: str, spec: InstanceSpec | None) -> None:
        """Have the instance replaced by one of that kind, or of its own. Raise KeyError when that cannot be."""
        own = self._specs[name]
        if own.work_dir is None:
            raise KeyError(name)
        self._asked[name] = own if spec is None else msgspec.structs.replace(spec, work_dir=own.work_dir)
        self._wake.set()

    def learn(self, name: str, spec: InstanceSpec) -> None:
        """Of an instance that is new, or there again."""
        self._specs[name] = spec
        for known in (self._asked, self._wanted, self._tries):
            known.pop(name, None)

    def want(self, instance: Instance, spec: InstanceSpec) -> None:
        """Have the instance be of that kind from now on: as it begins, else by a successor."""
        name, own = instance.name, self._specs[instance.name]
        self._wanted[name] = wanted = msgspec.structs.replace(spec, work_dir=own.work_dir)
        if instance.begin_with(wanted):
            self._specs[name] = wanted
        self._wake.set()

    def wake(self) -> None:
        """Something may have to be replaced."""
        self._wake.set()

    async def follow(self) -> None:
        if not self._is_tidy:
            await self._tidy_up()
            self._is_tidy = True
        while True:
            self._wake.clear()
            for instance in list(self._members.instances):
                reason = self._reason(instance)
                if reason is not None and self._is_time(instance.name, reason):
                    await self._try(instance, reason)
            with suppress(TimeoutError):
                async with asyncio.timeout(until_next(LOOK_SEC)):
                    await self._wake.wait()

    def close(self) -> None:
        self._disk.close()

    async def _tidy_up(self) -> None:
        """After an end in the midst of a replacement."""
        for instance in list(self._members.instances):
            first = self._specs[instance.name].work_dir
            if instance.work_dir is not None and first is not None:
                with suppress(OSError, TimeoutError):
                    unused = work_dirs.other(first, instance.work_dir)
                    await self._disk.run(partial(work_dirs.forget_login, unused))

    def _reason(self, instance: Instance) -> Reason | None:
        succession = instance.succession
        if succession.is_over:
            return None
        asked, wanted, order = self._other_kind(instance.name), instance.login.wish.login, instance.order
        # What does not run as it is may run as another kind; with another login it starts by itself.
        if not succession.is_possible and (asked is None or instance.is_stopped or instance.work_dir is None):
            return None
        if asked is None and not succession.is_wanted:
            succession.failure = ""
            return None
        restart = order.restart_before if succession.is_for_restart else 0.0
        words = ANOTHER_KIND if asked is not None else A_RESTART if restart else ANOTHER_LOGIN
        login = (wanted.login, wanted.generation, wanted.endpoint) if wanted is not None else (0, 0, "")
        return Reason(words, restart, *login, asked, order.cleared_at)

    def _other_kind(self, name: str) -> InstanceSpec | None:
        wanted = self._wanted.get(name)
        # Compared each time: what is wanted may change while a successor is on its way.
        return self._asked.get(name) or (wanted if wanted != self._specs[name] else None)

    def _is_time(self, name: str, reason: Reason) -> bool:
        tries = self._tries.get(name)
        if tries is None or tries.reason != reason:
            self._tries[name] = tries = _Tries(reason)
        return time.monotonic() >= tries.again_at

    def _is_urgent(self) -> bool:
        """An instance that can serve nothing waits for its successor."""
        return any(each.succession.is_awaited and not each.account.may_chat for each in self._members.instances)

    async def _try(self, before: Instance, reason: Reason) -> None:
        login, generation = _lease_of(before, reason)
        if login and not await self.lease.take(login, generation):
            return
        # Two services never share a work dir: whatever else has this name is ended first.
        await self._members.end_others(before.name)
        successor = self._successor(before, reason.spec or self._specs[before.name])
        error = None
        try:
            await self._put_in_place(successor, reason, partial(self._keeping, login, generation))
        except SuccessorRejected as exc:
            error = exc
        except Exception:  # an edge: a service that nobody uses must not be left over
            logger.exception("%s: its replacement broke", before.name)
            error = SuccessorRejected("the gateway failed; its log says why")
        finally:
            if login:
                await self.lease.give_back(login)
        if error is None:
            await successor.retire(self._late_usages, self._disk, self._is_urgent)
        else:
            await self._failed(successor, reason, error)
            await successor.throw_away(self._disk)

    async def _put_in_place(self, successor: Successor, reason: Reason, keeping: Keeping) -> None:
        """Raise SuccessorRejected where it is not there in the end."""
        before = successor.before
        if before not in self._members.instances:
            raise SuccessorRejected("it is not there any more")
        before.succession.is_under_way = True
        before.note(TransitionReason.REPLACING, reason.words)
        self._members.successors[before.name] = successor.instance
        self._changed()
        try:
            await keeping(successor.prove(self._disk))
            await successor.note(self._disk)
            successor.take_over(self._members.instances)
        finally:
            before.succession.is_under_way = False
            del self._members.successors[before.name]
            self._changed()
        self._taken_over(before.name, reason)
        if not before.account.may_chat and successor.instance.account.may_chat:
            # It was not waited for: now it is known what it is worth.
            await self._look_at(successor, reason, keeping)

    def _successor(self, before: Instance, spec: InstanceSpec) -> Successor:
        first = self._specs[before.name].work_dir
        assert first is not None  # noqa: S101 - what has none is not replaced
        assert before.work_dir is not None  # noqa: S101 - the same
        changed = asyncio.Event()

        def on_change() -> None:
            changed.set()
            self._changed()

        free = work_dirs.other(first, before.work_dir)
        instance = self._make(before.name, msgspec.structs.replace(spec, work_dir=free), on_change)
        instance.prepare_to_succeed(before)
        return Successor(before, instance, first, self._members, self._options, changed)

    def _taken_over(self, name: str, reason: Reason) -> None:
        logger.info("%s: its successor has taken over (%s)", name, reason.words)
        if reason.spec is not None:
            self._specs[name] = reason.spec
            if self._asked.get(name) == reason.spec:
                del self._asked[name]
        self._tries.pop(name, None)
        metrics.REPLACEMENTS.labels(name, "done").inc()

    async def _look_at(self, successor: Successor, reason: Reason, keeping: Keeping) -> None:
        try:
            await keeping(successor.chat())
        except SuccessorRejected as exc:
            successor.instance.incidents.last_error = str(exc)
            successor.instance.note(TransitionReason.FAILED, str(exc))
            await self._report(successor, reason, exc)

    async def _failed(self, successor: Successor, reason: Reason, error: SuccessorRejected) -> None:
        name = successor.before.name
        tries = self._tries[name]
        if successor.is_unwanted:
            return
        tries.failed += 1
        metrics.REPLACEMENTS.labels(name, "failed").inc()
        pause = replacement_pause(tries.failed, random.random())  # noqa: S311
        tries.again_at = time.monotonic() + pause
        logger.warning("%s: its successor is of no use: %s; tried again in %.0f s", name, error, pause)
        successor.before.succession.failure = f"its successor ({reason.words}): {error}"
        successor.before.note(TransitionReason.KEPT, str(error))
        self._changed()
        await self._report(successor, reason, error)

    async def _report(self, successor: Successor, reason: Reason, error: SuccessorRejected) -> None:
        if error.of_login and reason.words == ANOTHER_LOGIN:
            try:
                await successor.instance.login.report_refused()
            except StoreAway as exc:
                logger.warning("%s: that cannot be told now: %s", successor.before.name, exc)

    async def _keeping(self, login: int, generation: int, work: Coroutine[Any, Any, None]) -> None:
        """Do the work as long as the lease can be kept. Raise SuccessorRejected."""
        running = asyncio.get_running_loop().create_task(work)
        try:
            while not (await asyncio.wait({running}, timeout=KEEP_SEC))[0]:
                await self._keep(login, generation)
            running.result()
            await self._keep(login, generation)
        finally:
            running.cancel()
            await asyncio.wait({running})

    async def _keep(self, login: int, generation: int) -> None:
        if login and not await self.lease.take(login, generation):
            raise SuccessorRejected("another process has replaced an instance of this login meanwhile")


def _lease_of(instance: Instance, reason: Reason) -> tuple[int, int]:
    """A login and its generation; 0 where there is none."""
    held = instance.login.held
    if reason.login or held is None:
        return reason.login, reason.generation
    # One that is taken away: the instances that lose it do so one after the other, too.
    return held.login, held.generation
