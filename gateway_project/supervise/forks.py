"""The supervisor's side of the fork server: asks it for processes, and waits for those."""

import asyncio
import contextlib
import gc
import os
import signal
import socket
import sys
from asyncio.subprocess import PIPE
from collections.abc import Iterable

import msgspec

from gateway_project.lib.processes import heap, process_title
from gateway_project.lib.processes.life_signs import LIFE_FD
from gateway_project.supervise import forked, forkserver, orphans
from gateway_project.supervise.child import Child, Program, Running, spawn
from gateway_project.supervise.forked import STARTED, Request
from gateway_project.supervise.output import Output
from gateway_project.supervise.watch import Signs

PATIENCE = 30.0
"""Seconds for a fork, for which the server may have to load first; then the process is started in the usual way."""
LEFT_SEC = 1.0
"""Seconds after the end of a process in which its output is still read."""


def can_fork() -> bool:
    """Whether this system has what it takes: orphans that come to us, a wait for one process, titles."""
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError):
        return False
    return orphans.adopts() and process_title.can_show()


class Forked:
    """A process that the fork server made; our child, with the methods of one that asyncio started."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self.stdout: asyncio.StreamReader | None = None
        self.stderr: asyncio.StreamReader | None = None
        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        self._transports: list[asyncio.BaseTransport] = []
        self._pidfd = os.pidfd_open(pid)
        orphans.ours.add(pid)
        self._loop.add_reader(self._pidfd, self._collect)

    async def read(self, pipe: int) -> asyncio.StreamReader:
        """A reader of one of its streams."""
        reader = asyncio.StreamReader()
        transport, _ = await self._loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(pipe, "rb", 0)
        )
        self._transports.append(transport)
        return reader

    async def wait(self) -> int:
        await self._ended.wait()
        assert self.returncode is not None  # noqa: S101 - it has ended
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _collect(self) -> None:
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        _, status = os.waitpid(self.pid, 0)
        self.returncode = os.waitstatus_to_exitcode(status)
        self._ended.set()
        for transport in self._transports:
            # Later: what it has written is read first. Something it started may hold the pipe for ever.
            self._loop.call_later(LEFT_SEC, transport.close)


class FirstServer(msgspec.Struct, frozen=True):
    """A fork server that was forked from the supervisor: it shares what that has loaded."""

    pid: int
    requests: socket.socket
    output: int
    signs: Signs


def fork_server(mask: Iterable[int]) -> FirstServer | None:
    """Fork it, before we have a loop and threads, with these signals blocked. None where it cannot work.

    It does not return in the fork server, nor in the forks of that.
    """
    if not can_fork():
        return None
    ours, theirs = _pair()
    output, its_output = os.pipe()
    signs = Signs()
    gc.collect()
    gc.freeze()
    heap.fill_holes()
    supervisor = os.getpid()
    sys.stdout.flush()
    if pid := os.fork():
        theirs.close()
        os.close(its_output)
        signs.hand_over()
        return FirstServer(pid, ours, output, signs)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    ours.close()
    os.close(output)
    signs.give_away()
    os.setsid()
    forked.die_with(supervisor)
    forked.use_streams(its_output)
    os.environ[LIFE_FD] = str(signs.theirs)
    forkserver.run(theirs)
    sys.exit(0)


class ForkServer(Child):
    """Kept running as any other child. While it cannot fork, processes are started in the usual way."""

    def __init__(self, program: Program, output: Output, first: FirstServer) -> None:
        self._failed = False
        self._first: FirstServer | None = first
        self._ours, self._theirs = first.requests, socket.socket()
        super().__init__(program, output, start=self._start_server)

    async def start(self, program: Program, *, stderr: int, signs: int | None = None) -> Running:
        """Start a program: by a fork, if it is one of ours."""
        if program.module and not self._failed:
            # From the fork until the pid is in `ours`, the reaper must not take this child for an orphan.
            with orphans.starting():
                process = await self._fork(program, separate=stderr == PIPE, signs=signs)
            if process is not None:
                return process
            if self._stopping.is_set():
                raise OSError(0, "the gateway stops")
        return await spawn(program, stderr=stderr, signs=signs)

    async def _start_server(self, program: Program, *, stderr: int, signs: int | None = None) -> Running:
        if self._first is not None:
            first, self._first = self._first, None
            process = Forked(first.pid)
            process.stdout = await process.read(first.output)
            return process
        with self._theirs as theirs:
            number = theirs.fileno()
            command = (*program.command, f"--fd={number}")
            started = msgspec.structs.replace(program, command=command, inherited=(number,))
            return await spawn(started, stderr=stderr, signs=signs)

    def _new_signs(self) -> Signs:
        return self._first.signs if self._first else Signs()

    async def _run_once(self) -> tuple[str, bool]:
        self._failed = False
        how, served = await super()._run_once()
        # What waited for an answer has got an end of file, and is started in the usual way.
        self._ours.close()
        self._theirs.close()
        self._ours, self._theirs = _pair()
        self._failed = not served
        return how, served

    async def _fork(self, program: Program, *, separate: bool, signs: int | None) -> Running | None:
        """None when it does not answer. `separate`: two pipes, one for each of its streams."""
        variables = {} if signs is None else {LIFE_FD: str(signs)}
        inherited = program.inherited if signs is None else (*program.inherited, signs)
        request = Request(program.module, program.command, {**program.environment, **variables}, inherited, os.getpid())
        with contextlib.ExitStack() as ours, contextlib.ExitStack() as theirs:
            answer, asking = socket.socketpair()
            ours.enter_context(answer)
            theirs.enter_context(asking)
            pipes = [_pipe(ours, theirs) for _ in range(1 + separate)]
            descriptors = [asking.fileno(), pipes[0][1], pipes[-1][1], *inherited]
            try:
                socket.send_fds(self._ours, [msgspec.json.encode(request)], descriptors)
            except OSError:  # it has just ended
                return None
            # Only it has them now, so that its end is an end of file.
            theirs.close()
            pid = await self._answer(answer)
            if pid is None:
                return None
            process = Forked(pid)
            await asyncio.get_running_loop().sock_sendall(answer, STARTED)
            answer.close()
            ours.pop_all()
        process.stdout, *others = [await process.read(mine) for mine, _ in pipes]
        process.stderr = others[0] if others else None
        return process

    async def _answer(self, answer: socket.socket) -> int | None:
        """The pid of a process that waits for us to know it."""
        answer.setblocking(False)
        try:
            async with asyncio.timeout(PATIENCE):
                data = await asyncio.get_running_loop().sock_recv(answer, 4)
        except TimeoutError:
            self._output.message(f"{self.program.name} does not answer and is started again")
            if self._process is not None:
                self._process.kill()
            return None
        except OSError:
            return None
        return int.from_bytes(data) if data else None


def _pair() -> tuple[socket.socket, socket.socket]:
    """One message is one request. Ours does not wait: a server that takes none answers none."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    return ours, theirs


def _pipe(ours: contextlib.ExitStack, theirs: contextlib.ExitStack) -> tuple[int, int]:
    mine, its = os.pipe()
    ours.callback(os.close, mine)
    theirs.callback(os.close, its)
    return mine, its
