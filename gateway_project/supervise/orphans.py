"""Orphaned processes: what happens when our parent dies, and the processes that dead children left behind."""

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from gateway_project.lib.processes import process_death

PR_SET_CHILD_SUBREAPER = 36
PR_GET_CHILD_SUBREAPER = 37
REAP_SEC = 5.0
END_SEC = 5.0

ours: set[int] = set()
"""The processes that somebody here waits for."""
_starting: list[None] = []


def follow_parent() -> None:
    """Get SIGTERM when our own parent dies. Linux only."""
    process_death.get_signal(signal.SIGTERM, os.getppid())


def adopt() -> None:
    """Become the new parent of whatever our children leave behind. Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)


def adopts() -> bool:
    """Whether the system lets us."""
    answer = ctypes.c_int(0)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_GET_CHILD_SUBREAPER, ctypes.byref(answer))
    return answer.value == 1


@contextlib.contextmanager
def starting() -> Iterator[None]:
    """While a child is being started its pid is not among `ours` yet, and nobody is taken for an orphan."""
    _starting.append(None)
    try:
        yield
    finally:
        _starting.pop()


def adopted() -> list[int]:
    """The children of this process that it did not start itself."""
    me = str(os.getpid())
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it may end while we look
            # Behind the last bracket: a program's name stands in brackets and may hold blanks and brackets itself.
            pid, (_, parent, *_) = int(stat.parent.name), stat.read_text().rpartition(") ")[2].split()
            if parent == me and pid not in ours:
                found.append(pid)
    return found


def listed() -> list[int]:
    """The same from the kernel's own list, for a hundredth of the price. One that ends meanwhile may hide another."""
    try:
        lists = [path.read_text() for path in Path("/proc/self/task").glob("[0-9]*/children")]
    except OSError:
        lists = []
    # None at all: the kernel was built without them.
    return [pid for each in lists for pid in map(int, each.split()) if pid not in ours] if lists else adopted()


def reap() -> None:
    """Collect those that ended, so that none stays a zombie."""
    # A child without its pid in `ours` looks like an orphan; the next round comes soon.
    if _starting:
        return
    for pid in listed():
        with contextlib.suppress(ChildProcessError):
            # By pid, not -1: waiting for any child would take the exit codes that asyncio waits for.
            os.waitpid(pid, os.WNOHANG)


async def reap_now_and_then() -> None:
    """Whoever runs as the first process of a container is the parent of all that lose theirs."""
    while True:
        await asyncio.sleep(REAP_SEC)
        reap()


def end() -> None:
    """Kill what is left, and what that leaves in turn; what cannot be killed is left in the end."""
    deadline = time.monotonic() + END_SEC
    while (left := adopted()) and time.monotonic() < deadline:
        for pid in left:
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, os.WNOHANG)
        # Blocking is right here: this is the last thing that the process does.
        time.sleep(0.01)
