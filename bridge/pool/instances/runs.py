"""Which run of its service an instance holds, and which runs have ended by themselves."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import NamedTuple

import msgspec

from bridge.lingma.abandoned import Abandoned
from bridge.lingma.process.endpoint import Identity

SETTLE_SEC = 3.0  # until one knows of a lost connection whether the run went with it
MOST_REMEMBERED = 8


class Exit(msgspec.Struct, frozen=True):
    """How a run ended by itself. `only` is the request id of the one question that the service was at work on.

    It is empty for none, for several, and where nobody can know: a service that other processes ask as well.
    """

    only: str = ""
    has_begun: bool = False
    """Something of its reply had come."""
    killed: bool = False
    """By a signal that a prompt can hardly be the reason of."""
    shared: bool = False
    """Other processes ask that service too, and what they asked is not known here."""


class _Crash(NamedTuple):
    abandoned: Abandoned
    killed: bool


class Runs:
    """Runs are numbered by generations, which only grow: a session belongs to one of them."""

    def __init__(self, *, shared: bool = False) -> None:
        self.generation = 0
        self.started_at = 0.0
        self.abandoned = Abandoned()
        """Of the present run, over all its connections."""
        self._shared = shared
        self._identity: Identity | None = None
        self._crashes: dict[int, _Crash] = {}
        self._settled = asyncio.Event()  # it is known whether a lost connection was all that was lost

    def begin(self, *, is_another: bool = False) -> None:
        """`is_another`: the process of the one before has ended for sure."""
        if is_another or self.generation in self._crashes:  # else it may be the same process, still at work
            self.abandoned = Abandoned()
        self.started_at = time.time()
        # Wall-clock milliseconds: no two runs share a number, not even across restarts of the gateway. `max` covers a
        # clock that was set back.
        self.generation = max(self.generation + 1, int(self.started_at * 1000))

    def outdo(self, before: Runs) -> None:
        """Those of a service that takes the place of another: its generations go on."""
        self.generation = max(self.generation, before.generation + 1)

    def is_same(self, identity: Identity | None) -> bool:
        """True where the service proves to be the process from before. Else another run begins, without sessions."""
        was, self._identity = self._identity, identity
        # Not proven counts as another process: to use a session that is gone costs an answer, a new one costs some
        # tokens.
        if identity is not None and identity == was:
            return True
        if was is not None:
            self.note_exit()
        self.begin()
        return False

    def note_exit(self, *, killed: bool = False) -> None:
        """The present one has ended by itself, or had to be ended."""
        # The first reason counts: ending a hung program looks like a kill a moment later.
        self._crashes.setdefault(self.generation, _Crash(self.abandoned, killed))
        if len(self._crashes) > MOST_REMEMBERED:
            del self._crashes[next(iter(self._crashes))]
        self.settle()

    def mark_unsettled(self) -> None:
        """A connection was lost, and nobody knows yet what went with it."""
        self._settled.clear()

    def settle(self) -> None:
        """Now it is known."""
        self._settled.set()

    async def exit_of(self, generation: int) -> Exit | None:
        """The exit of a run that ended by itself; None: it goes on, or was ended. Known after SETTLE_SEC at most."""
        # Without a verdict in time the run is taken to go on: a turn must not wait for ever to be asked again.
        with suppress(TimeoutError):
            async with asyncio.timeout(SETTLE_SEC):
                await self._settled.wait()
        crash = self._crashes.get(generation)
        if crash is None:
            return None
        # Questions of other processes are not known here.
        only, has_begun = ("", False) if self._shared else crash.abandoned.only()
        return Exit(only, has_begun, crash.killed, self._shared)
