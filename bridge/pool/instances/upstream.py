"""The service behind an instance: a program that is started, or one that is found; dialled, known again, ended."""

from __future__ import annotations

import asyncio
import signal
from contextlib import suppress
from pathlib import Path

import msgspec

from bridge.lingma.connection import Connection
from bridge.lingma.errors import DialFailed, StartFailed
from bridge.lingma.process.endpoint import Endpoint, Identity
from bridge.lingma.process.process import Process
from bridge.lingma.transport.urls import shown
from bridge.pool.options import InstanceSpec
from gateway_project.lib.tool_approval import Approval

DIAL_EVERY_SEC = 0.15
DIAL_SEC = 2.0  # for one connection with its handshake
# SIGKILL is also how the kernel ends a program when memory is short; a prompt is hardly the reason of these, unlike
# of SIGSEGV or SIGABRT.
FROM_OUTSIDE = frozenset(
    code
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
    for code in (-number, 128 + number)  # 128 + n: a shell in between reports a signal so
)
REDIAL_SEC = 5.0  # a program that had been reached and is not any more within that time is started anew


class Upstream:
    """One run after the other: `open()`, `dial()` as often as needed, `end()`."""

    def __init__(self, spec: InstanceSpec, approval: Approval) -> None:
        self.process: Process | None = None
        self.endpoint: Endpoint | None = None
        self.is_attached = bool(spec.attach)
        self.is_shared = spec.shared
        self.stopping = False
        self.login_endpoint = ""
        """Of the login that the next run has; "": as everywhere."""
        self.spec = spec
        self.is_begun = False
        """It was started once, or looked for."""
        self._approval = approval

    @property
    def work_dir(self) -> Path | None:
        """None: what is attached has none of ours."""
        return None if self.is_attached else self.spec.work_dir

    @property
    def pid(self) -> int:
        return self.process.pid if self.process is not None else 0

    @property
    def exit_code(self) -> int | None:
        """Of a program that was started here and has ended."""
        exited = self.process.exited if self.process is not None else None
        return exited.result() if exited is not None and exited.done() else None

    @property
    def was_killed(self) -> bool:
        """The program has ended by a signal that others send."""
        return self.exit_code in FROM_OUTSIDE

    def begin_with(self, spec: InstanceSpec) -> bool:
        """Have it begin as that kind, in its own work dir. False: it has begun already."""
        if self.is_begun:
            return False
        self.spec = msgspec.structs.replace(spec, work_dir=self.work_dir)
        return True

    async def open(self) -> None:
        """Start the program; what is attached to is looked for when it is dialled. Raise StartFailed or OSError."""
        # Somebody else runs it: it is never started and never stopped here (PROTOCOL 17.1).
        if self.is_attached:
            return
        self.is_begun = True
        source, arguments = self.spec, self.spec.arguments
        if source.work_dir is None:
            raise StartFailed("an instance that is started needs a work dir")
        if self.login_endpoint:
            others = tuple(each for each in arguments if not each.startswith("--endpoint="))
            arguments = (*others, f"--endpoint={self.login_endpoint}")
        self.process = await Process.start(
            source.command, source.work_dir, arguments, source.environment, source.sha256
        )
        self.endpoint = Endpoint(self.process.url, self.process.work_dir)

    async def dial(self) -> Connection:
        """A connection: to a program as soon as it listens, to anybody else now. Raise DialFailed or StartFailed."""
        if self.process is not None and self.endpoint is not None:
            return await self._dial_program(self.process, self.endpoint)
        self.endpoint = Endpoint.find(self.spec.attach)  # afresh: ports change with the service
        return await self._dial_any(self.endpoint)

    async def redial(self) -> Connection:
        """The same, of a service that was connected before. Raise TimeoutError as well."""
        async with asyncio.timeout(REDIAL_SEC):
            return await self.dial()

    async def identity(self) -> Identity | None:
        """The process of this host that was dialled last; None: it was started here, or that cannot be proven."""
        if self.endpoint is None or not self.is_attached:
            return None
        return await asyncio.to_thread(self.endpoint.identity)

    def has_moved(self) -> bool:
        """Whether `.info.json` now names another address than the one dialled last."""
        if not self.is_attached:
            return False
        with suppress(StartFailed):
            # `.info.json` is rewritten about every 30 s; only another content counts (PROTOCOL 2.3).
            return Endpoint.find(self.spec.attach) != self.endpoint
        return False

    async def end(self, *, hung: bool) -> None:
        # Forgotten before the wait: nobody takes the exit code of a program that was stopped for a crash.
        process, self.process = self.process, None
        if process is not None:
            await process.stop(hung=hung)

    async def _dial_program(self, process: Process, endpoint: Endpoint) -> Connection:
        """In a loop until it listens; give up at once when it exits (PROTOCOL 2.4)."""
        while not self.stopping:
            if await _is_there(process):
                with suppress(DialFailed):
                    return await self._dial_any(endpoint)
            # A pause that ends early when the program exits.
            await asyncio.wait({process.exited}, timeout=DIAL_EVERY_SEC)
            if process.exited.done():
                raise StartFailed(f"the program exited with code {process.exited.result()}")
        raise DialFailed("stopped while it was starting")

    async def _dial_any(self, endpoint: Endpoint) -> Connection:
        reason, refused = "", False
        for url in endpoint.urls:
            try:
                return await Connection.dial(
                    url, self.spec.dialect, within=DIAL_SEC, headers=endpoint.headers, approval=self._approval
                )
            except DialFailed as exc:
                reason, refused = f" ({exc.reason})" if exc.reason else "", exc.refused
                # The port is closed for every path, so another path need not be tried.
                if refused:
                    break
        raise DialFailed(f"{shown(endpoint.url)}: no Lingma service answers there{reason}", refused=refused)


async def _is_there(process: Process) -> bool:
    """Whether the program listens itself: nothing else is dialled. Raise StartFailed."""
    holder = await process.holder()
    if holder == "other":
        raise StartFailed("another program listens on the port that was meant for it")
    return holder != "nobody"
