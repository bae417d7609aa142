"""Simulators as forks of the process that starts them: to load one is nearly all of the CPU that its start takes.

`bridge.lingma.process` goes on as it does with any program: asyncio, asked by it for a simulator, forks instead of
starting Python anew. The fork has what the program would have: its arguments and variables, a session of its own, no
descriptors of ours, and the signal that ends it when we end. How other programs are started is for the tests of that.
"""

import asyncio
import contextvars
import functools
import gc
import importlib
import logging
import os
import signal
import sys
import warnings

from gateway_project.lib.processes import process_death, process_title

SIMULATOR = (sys.executable, "-m", "bridge.simulator")
LAUNCHED = ("-I", "-S", str(process_death.__file__), str(int(signal.SIGKILL)))
OURS = ("SIGTERM", "SIGHUP", "SIGQUIT", "SIGALRM", "SIGCHLD", "SIGUSR1", "SIGUSR2")
"""Signals that we may have handlers of."""


class Forked:
    """As the process that asyncio gives, as far as it is asked."""

    def __init__(self, pid):
        self.pid = pid
        try:
            self._pidfd = os.pidfd_open(pid)
        except OSError:  # no descriptor is left
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise

    async def wait(self):
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(self._pidfd, ended.set)
        try:
            await ended.wait()
        finally:
            loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def fork_them():
    """From now on, in this process and its forks."""
    start = asyncio.create_subprocess_exec
    if not process_title.can_show() or getattr(start, "forks_simulators", False):
        return

    @functools.wraps(start)
    async def fork_or_start(*arguments, env=None, **options):
        # The launcher's arguments are the pid that the program dies with, and the program.
        if arguments[1:5] == LAUNCHED and arguments[6:9] == SIMULATOR and arguments[9] == "start":
            return Forked(_forked(arguments[9:], env))
        return await start(*arguments, env=env, **options)

    fork_or_start.forks_simulators = True
    asyncio.create_subprocess_exec = fork_or_start


def _forked(arguments, variables):
    main = importlib.import_module("bridge.simulator.cli").main
    importlib.import_module("bridge.simulator.service")
    parent, (begun, begins) = os.getpid(), os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # newer Pythons warn of our threads, which it never uses
        pid = os.fork()
    if pid == 0:
        try:
            _become(arguments, variables, parent, begins)
            os._exit(contextvars.Context().run(main, list(arguments)))
        finally:
            os._exit(1)
    os.close(begins)
    os.read(begun, 1)  # now it is what it is to be
    os.close(begun)
    return pid


def _become(arguments, variables, parent, begins):
    # What is not used any more is not collected either: it would close descriptors that are other ones by then.
    gc.freeze()
    asyncio._set_running_loop(None)
    signal.set_wakeup_fd(-1)
    for name in OURS:
        signal.signal(signal.Signals[name], signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.setsid()
    if not process_death.get_signal(signal.SIGKILL, parent):
        os._exit(1)
    _close_all_but(begins)
    logging.disable()
    os.environ.clear()
    os.environ.update(variables)
    process_title.show((*SIMULATOR, *arguments))
    os.write(begins, b"1")
    os.close(begins)


def _close_all_but(kept):
    """All descriptors; the first three become nothing, to read from and to write to."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in range(3):
        os.dup2(nothing, number)
    os.closerange(3, kept)
    os.closerange(kept + 1, max(map(int, os.listdir("/proc/self/fd"))) + 1)
    sys.stdout = sys.stderr = open(1, "w", closefd=False)  # noqa: SIM115 - as long as it lives
