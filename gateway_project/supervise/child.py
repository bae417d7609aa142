"""One supervised process: started tied to us, its output copied, started again when it dies."""

import asyncio
import contextlib
import inspect
import os
import signal
import sys
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from gateway_project.lib.backoff import growing
from gateway_project.lib.processes import process_death
from gateway_project.lib.processes.life_signs import LIFE_FD
from gateway_project.supervise import orphans
from gateway_project.supervise.output import Output
from gateway_project.supervise.watch import Pings, Signs, until_hung

FIRST_DELAY = 0.5
LONGEST_DELAY = 30.0
HURRIED_SEC = 3.0
"""Seconds to stop in after a second signal: a web process takes two to end its turns."""
KILLED_SEC = 5.0
"""Seconds that the end of a killed process is waited for."""
STEADY = 30.0


class Program(msgspec.Struct, frozen=True):
    """What to run, and how long it may take to stop."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = {}
    module: str = ""
    """Of ours, which the command runs: the fork server can make the process, where there is one."""
    inherited: tuple[int, ...] = ()
    """File descriptors the process keeps."""
    grace: float = 10.0
    """Seconds between SIGTERM and SIGKILL."""
    steady: float = STEADY
    """Seconds of running after which a start counts as a success, where it does not report that it serves."""
    silence: float = 0.0
    """Seconds without a sign of life after which it is killed; 0 for ever."""
    pinged: Path | None = None
    """The socket where a Redis is pinged; all others send their signs of life on a pipe (`life_signs`)."""


class Running(Protocol):
    """A process that was started, as asyncio has it."""

    @property
    def pid(self) -> int: ...
    @property
    def returncode(self) -> int | None: ...
    @property
    def stdout(self) -> asyncio.StreamReader | None: ...
    @property
    def stderr(self) -> asyncio.StreamReader | None: ...
    async def wait(self) -> int: ...
    def send_signal(self, number: int, /) -> None: ...
    def kill(self) -> None: ...


class Start(Protocol):
    """Starts a program. `stderr` as asyncio takes it; `signs` is where signs of life go."""

    async def __call__(self, program: Program, *, stderr: int, signs: int | None = None) -> Running: ...


async def spawn(program: Program, *, stderr: int, signs: int | None = None) -> Running:
    """Start a program that dies with us. Its own session keeps a terminal's Ctrl-C away from it."""
    variables = {} if signs is None else {LIFE_FD: str(signs)}
    tie = (inspect.getfile(process_death), str(int(signal.SIGKILL)), str(os.getpid()))
    # From the fork until the pid is in `ours`, the reaper must not take this child for an orphan and collect it.
    with orphans.starting():
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-I", "-S", *tie, *program.command,
            env={**os.environ, **program.environment, **variables},
            pass_fds=program.inherited if signs is None else (*program.inherited, signs),
            # And out of our process group: we decide in which order processes end.
            start_new_session=True,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=PIPE,
            stderr=stderr,
        )  # fmt: skip
        orphans.ours.add(process.pid)
    return process


def ending(code: int) -> str:
    return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"


class Child:
    """A program kept running until `stop`."""

    def __init__(self, program: Program, output: Output, start: Start = spawn) -> None:
        self.program = program
        self._output = output
        self._start = start
        self._grace = program.grace
        self._stop_deadline: asyncio.Timeout | None = None
        self._last_signal = signal.SIGTERM
        self._process: Running | None = None
        self._stopping = asyncio.Event()
        self._running = asyncio.create_task(self._keep_running())

    async def stop(self) -> None:
        """SIGTERM, wait, SIGKILL when it takes too long."""
        # A child that `hurry` has sent a signal needs no second one.
        if not self._stopping.is_set():
            self._stopping.set()
            self._signal(signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._grace) as self._stop_deadline:
                await asyncio.wait({self._running})
        self._stop_deadline = None
        if not self._running.done():
            self._output.message(f"{self.program.name} did not stop in {self._grace:g} s and is killed")
            self.kill()
            await asyncio.wait({self._running}, timeout=KILLED_SEC)
        if not self._running.done():  # not even SIGKILL ends one that waits for a disk
            self._output.message(
                f"{self.program.name} (pid {self._process.pid if self._process else 0}) cannot be killed"
            )
            self._running.cancel()

    def hurry(self, number: signal.Signals | None) -> None:
        """Send this signal, or stop it later in its turn if None; it gets HURRIED_SEC to stop in."""
        if number is not None:
            self._stopping.set()
            self._signal(number)
        self._grace = min(self._grace, HURRIED_SEC)
        # A stop that runs already gets the shorter time; one that begins later reads `_grace`.
        if self._stop_deadline is not None:
            self._stop_deadline.reschedule(asyncio.get_running_loop().time() + self._grace)

    def kill(self) -> None:
        """SIGKILL at once, and no new start."""
        self._stopping.set()
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        # Remembered: a child that is just being started has no process yet, and gets it when it has.
        self._last_signal = number
        # A pid whose process was collected may belong to somebody else by now.
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(number)

    async def _keep_running(self) -> None:
        """A start that failed waits longer each time; a program that has served is started again at once."""
        failures = 0
        clock = asyncio.get_running_loop().time
        while not self._stopping.is_set():
            began = clock()
            how, served = await self._run_once()
            if self._stopping.is_set():
                return
            # It worked for a while, so this is a crash and no flaw of the configuration: back to short pauses.
            if served or clock() - began > self.program.steady:
                failures = 0
            # What the child left behind is ours now and may be dead already.
            orphans.reap()
            delay = growing(FIRST_DELAY, failures, LONGEST_DELAY)
            when = "" if served else f" in {delay:g} s"
            self._output.message(f"{self.program.name} {how}; starting it again{when}")
            if not served:
                await self._pause(delay)
                failures += 1

    async def _run_once(self) -> tuple[str, bool]:
        """How it ended, and whether it had reported that it serves."""
        try:
            with self._new_signs() as signs:
                process = self._process = await self._start(self.program, stderr=STDOUT, signs=signs.theirs)
                # Our copy of the child's end is closed, so that a read reports the end when the child is gone.
                signs.hand_over()
                watching = asyncio.create_task(self._end_if_hung(process, signs))
                try:
                    how = await self._until_ended(process)
                finally:
                    watching.cancel()
                await signs.poll()  # its last signs, which may include READY
                return f"{signs.verdict}{how}", signs.served
        except OSError as exc:  # no memory, or too many processes: another moment may have room
            return f"could not be started: {exc.strerror}", False

    def _new_signs(self) -> Signs:
        return Signs()

    async def _until_ended(self, process: Running) -> str:
        if self._stopping.is_set():  # the stop came while it was being started
            self._signal(self._last_signal)
        assert process.stdout is not None  # noqa: S101 - it is a pipe
        output = asyncio.create_task(self._output.copy(self.program.name, process.stdout))
        code = await process.wait()
        orphans.ours.discard(process.pid)
        await asyncio.wait({output}, timeout=0.5)  # something it started may still hold the pipe
        # What is still in the pipe is lost; waiting longer would delay the restart.
        output.cancel()
        return ending(code)

    async def _end_if_hung(self, process: Running, signs: Signs) -> None:
        """Kill it when it has been silent for too long. A stop has deadlines of its own."""
        program = self.program
        if not program.silence:
            return
        poll = Pings(program.pinged).poll if program.pinged else signs.poll
        silent = await until_hung(poll, program.silence, process.pid)
        # It ended by itself in the moment of the verdict, or is being stopped: nothing to kill.
        if process.returncode is not None or self._stopping.is_set():
            return
        signs.verdict = f"gave no sign of life for {silent} s and "
        process.kill()
        await asyncio.sleep(KILLED_SEC)
        self._output.message(f"{program.name} (pid {process.pid}) {signs.verdict}cannot be killed")

    async def _pause(self, seconds: float) -> None:
        waiting = asyncio.create_task(self._stopping.wait())
        await asyncio.wait({waiting}, timeout=seconds)
        waiting.cancel()
