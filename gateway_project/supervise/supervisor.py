"""Starts the parts in order: checks, Redis, preparation, web, summary, background work; stops them in reverse."""

import asyncio
import contextlib
import os
import re
import signal
import socket
from asyncio.subprocess import PIPE
from collections.abc import Coroutine, Sequence
from pathlib import Path

import msgspec

from bridge.lingma.install import vsix
from bridge.lingma.transport.urls import shown
from gateway_project.env import Environment, SettingError
from gateway_project.supervise import orphans, programs
from gateway_project.supervise.child import KILLED_SEC, Child, Program, Start, spawn
from gateway_project.supervise.forks import FirstServer, ForkServer
from gateway_project.supervise.output import Output
from gateway_project.supervise.preflight import (
    check_apart,
    check_programs,
    check_telemetry,
    keep_private,
    listening,
    own_data_dir,
)
from gateway_project.supervise.summary import Bootstrapped, summary

READY_PATIENCE = 30.0
PREPARE_PATIENCE = 1800.0
"""A migration of a large table, or a slow download, may take long; for ever it may not."""
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


async def supervise(env: Environment, forks: FirstServer | None, named: frozenset[str] = programs.ALL) -> None:
    """Run the gateway, or the programs that are named, until a signal. Raise SettingError when it cannot be started."""
    if "MAKELEVEL" in os.environ:  # a `make` that is killed must not leave us behind
        orphans.follow_parent()
    check_apart(env, named)
    check_programs(env)
    check_telemetry(env)
    # The lock first: with it, a port in use is somebody else's and no second gateway of the same directory.
    with own_data_dir(env) as data_dir, contextlib.ExitStack() as open_ones:
        listeners = open_ones.enter_context(listening(env.host, env.port)) if programs.WEB in named else []
        await Supervisor(env, data_dir, listeners, forks, named).run()


def handled_signals() -> list[signal.Signals]:
    """The signals that stop us. What `nohup` or a shell made us ignore stays ignored, but for SIGTERM."""
    ignored = {number for number in STOP_SIGNALS if signal.getsignal(number) is signal.SIG_IGN}
    return [number for number in STOP_SIGNALS if number not in ignored - {signal.SIGTERM}]


class Supervisor:
    """One run. Children are kept by group, in the order they stop in."""

    def __init__(
        self,
        env: Environment,
        data_dir: Path,
        listeners: Sequence[socket.socket],
        forks: FirstServer | None,
        named: frozenset[str],
    ) -> None:
        self._named = named
        self._env = env
        self._data_dir = data_dir
        self._listeners = listeners
        self._signals = 0
        self._output = Output(width=max(len("gateway"), len(f"web-{env.web_processes}")))
        self._web: list[Child] = []
        self._background: list[Child] = []
        self._redis: list[Child] = []
        self._forks: list[ForkServer] = []
        self._first_server = forks
        self._stop = asyncio.Event()
        self._bootstrapped = Bootstrapped()
        self._upstream = ""  # what runs, as web processes say
        self._shown = False
        self._began = asyncio.get_running_loop().time()

    async def run(self) -> None:
        """Start everything, wait for a signal, stop everything. Raise SettingError when the start fails."""
        loop = asyncio.get_running_loop()
        for number in handled_signals():
            loop.add_signal_handler(number, self._on_signal, number)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
        # Kept in a variable: the loop itself holds tasks only weakly.
        reaping = loop.create_task(orphans.reap_now_and_then())
        try:
            await self._until_stopped(self._start())
            await self._stop.wait()
        finally:
            reaping.cancel()
            await self._shut_down()

    async def _start(self) -> None:
        for line in keep_private(self._env, self._data_dir):
            self._output.message(line)
        if self._first_server is not None:
            program = programs.fork_server(self._env, self._data_dir)
            self._forks = [ForkServer(program, self._output, self._first_server)]
        try:
            self._redis = self._launch(programs.redis(self._env, self._data_dir))
        except OSError as exc:
            raise SettingError(f"DATA_DIR: cannot use {exc.filename}: {exc.strerror}") from None
        # After Redis, which it waits for, and before the web processes: those need the tables.
        await self._prepare()
        if programs.WEB in self._named:
            await self._start_web()
        elif self._has_secrets:  # whoever made them shows them
            self._show("prepared")
        if self._named == {programs.PREPARE}:
            self._output.message("prepared")
            self._stop.set()
        # Last, so that on a small machine it does not delay the first answer.
        self._background = self._launch(programs.background(self._env, self._data_dir, self._named))

    async def _start_web(self) -> None:
        listeners = [each.fileno() for each in self._listeners]
        self._web = self._launch(programs.web(self._env, self._data_dir, listeners, self._named))
        ready = await self._becomes_ready()
        self._show("ready" if ready else "NOT READY YET: see the lines above")

    @property
    def _has_secrets(self) -> bool:
        return bool(self._bootstrapped.api_key or self._bootstrapped.admin_password)

    async def _until_stopped(self, starting: Coroutine[None, None, None]) -> None:
        start, stop = asyncio.ensure_future(starting), asyncio.ensure_future(self._stop.wait())
        await asyncio.wait({start, stop}, return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        if not start.done():
            start.cancel()
        # Awaited also after a cancellation: what it started must be recorded before the shutdown begins.
        with contextlib.suppress(asyncio.CancelledError):
            await start

    def _launch(self, group: list[Program]) -> list[Child]:
        return [Child(program, self._output, self._starter) for program in group]

    @property
    def _starter(self) -> Start:
        return self._forks[0].start if self._forks else spawn

    async def _prepare(self) -> None:
        env = self._env
        if env.takes_vsix and not vsix.is_unpacked(
            env.lingma_vsix, self._data_dir / "binaries", env.lingma_vsix_sha256
        ):
            self._output.message(f"unpacking Lingma from {shown(env.lingma_vsix)}; a download may take minutes")
        process = await self._starter(programs.prepare(self._env, self._data_dir), stderr=PIPE)
        assert process.stdout is not None and process.stderr is not None  # noqa: S101, PT018 - they are pipes
        try:
            async with asyncio.timeout(PREPARE_PATIENCE):
                output, errors, code = await asyncio.gather(
                    process.stdout.read(), process.stderr.read(), process.wait()
                )
        except (asyncio.CancelledError, TimeoutError) as exc:
            process.kill()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(KILLED_SEC):
                    await process.wait()
            if isinstance(exc, asyncio.CancelledError):
                raise
            raise SettingError(f"the preparation took more than {PREPARE_PATIENCE:g} s and was ended") from None
        # The JSON of `bootstrap` is all that stands on its standard output; messages go to the other stream.
        if code == 0:
            self._bootstrapped = msgspec.json.decode(output, type=Bootstrapped)
            return
        lines = errors.decode(errors="replace").strip().splitlines() or ["the preparation failed"]
        if code != 2:  # not a setting: whoever reports it needs all of it
            self._output.block("\n".join(lines))
        raise SettingError(lines[-1])

    async def _becomes_ready(self) -> bool:
        try:
            async with asyncio.timeout(READY_PATIENCE):
                while await self._status() in {0, 503}:  # noqa: ASYNC110 - there is no event to await in HTTP
                    await asyncio.sleep(0.1)
        except TimeoutError:
            return False
        return True

    async def _status(self) -> int:
        host, port = self._listeners[0].getsockname()[:2]
        wildcard = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared, not bound
        try:
            reader, writer = await asyncio.open_connection(wildcard.get(host, host), port)
            with contextlib.closing(writer):
                writer.write(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                head = await reader.readuntil(b"\r\n\r\n")
                found = re.search(rb"(?i)\r\nx-lingma-upstream: *([a-z]+)", head)
                self._upstream = found[1].decode() if found else self._upstream
                return int(head.split(None, 2)[1])
        except (OSError, EOFError, asyncio.LimitOverrunError, IndexError, ValueError):
            return 0

    def _show(self, state: str) -> None:
        after = asyncio.get_running_loop().time() - self._began
        self._output.block(summary(self._env, self._bootstrapped, f"{state} ({after:.1f} s)", self._upstream))
        self._shown = True

    def _on_signal(self, number: signal.Signals) -> None:
        """The first stops, the second ends the turns that run, the third kills. SIGQUIT counts as two."""
        self._signals += 2 if number == signal.SIGQUIT and not self._signals else 1
        self._stop.set()
        if self._signals == 1:
            self._output.message(
                f"stopping; running streams get up to {self._env.drain_sec:g} s, once more to end them"
            )
        elif self._signals == 2:
            self._output.message("stopping now; running streams are ended; once more to kill what is left")
            # SIGQUIT is what the server takes for "end the turns now"; for Celery it is a second SIGTERM.
            for child in self._web:
                child.hurry(signal.SIGQUIT)
            for child in self._background:
                child.hurry(signal.SIGTERM)
            for child in self._forks:
                child.hurry(None)
            for child in self._redis:  # what the others still write has to go there
                child.hurry(None)
        else:
            for child in [*self._forks, *self._web, *self._background, *self._redis]:
                child.kill()

    async def _shut_down(self) -> None:
        if not self._shown and self._has_secrets:  # made in a start that was broken off
            self._show("stopped before it was ready")
        # Before the web processes end: with our copy open, new connections would wait in a backlog that nobody accepts.
        for listener in self._listeners:
            listener.close()
        # In this order: web processes still write rows, the worker files them, and Redis has to outlive both.
        # With the first of them the fork server: there are no more starts.
        for group in ([*self._web, *self._forks], self._background, self._redis):
            await asyncio.gather(*(child.stop() for child in group))
        # Last: Lingma's processes that a killed web process left behind.
        orphans.end()
        if self._stop.is_set():
            self._output.message("stopped")
        self._output.close()
