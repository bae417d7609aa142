"""How a process reports to the supervisor that it serves and goes on: bytes on a pipe that a variable names."""

from __future__ import annotations

import os
import threading
from contextlib import suppress

LIFE_FD = "GATEWAY_LIFE_FD"
READY = b"1"
ALIVE = b"."
EVERY_SEC = 1.0


class _Pipe:
    """The pipe to the supervisor, one for the process."""

    descriptor: int | None = None


def _open() -> int | None:
    """The pipe's descriptor, None without a supervisor. Processes that we start do not inherit it."""
    # Popped: a process that we start inherits the environment and must not write to this number.
    if number := os.environ.pop(LIFE_FD, ""):
        with suppress(OSError, ValueError):
            descriptor = int(number)
            os.set_inheritable(descriptor, False)
            os.set_blocking(descriptor, False)  # a supervisor that stands still holds nobody up
            _Pipe.descriptor = descriptor
    return _Pipe.descriptor


def hand_on() -> None:
    """Leave the pipe to the program that this process becomes."""
    descriptor = _open()
    if descriptor is not None:
        os.set_inheritable(descriptor, True)
        os.environ[LIFE_FD] = str(descriptor)


def _write(data: bytes) -> None:
    descriptor = _open()
    if descriptor is not None:
        with suppress(OSError):
            os.write(descriptor, data)


def alive() -> None:
    """Give a sign of life. Only the main thread's counts: another one may live on beside a main thread that hangs."""
    if threading.current_thread() is threading.main_thread():
        _write(ALIVE)


def ready() -> None:
    """Report that this process does what it is for."""
    _write(READY)


def leave() -> None:
    """Close the pipe: a fork has one of its own."""
    if _Pipe.descriptor is not None:
        os.close(_Pipe.descriptor)
        _Pipe.descriptor = None


def serve() -> None:
    """Report that this process serves. From now on the event loop itself gives a sign each second, until it ends."""
    import asyncio  # 7 MB, which processes without a loop do not need

    from gateway_project.lib.background import until_next

    ready()
    loop = asyncio.get_running_loop()

    def beat() -> None:
        alive()
        loop.call_later(until_next(EVERY_SEC), beat)

    # A timer of the loop, not a task or a thread: a loop that hangs gives no sign, which is the point.
    beat()
