"""Processes and the death of their parents: ours, and what a child of ours left behind."""

import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Collection
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36


def follow_parent() -> None:
    """Get SIGTERM when our own parent dies. Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def adopt() -> None:
    """Become the new parent of whatever our children leave behind. Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)


def adopted(ours: Collection[int]) -> list[int]:
    """The children of this process that it did not start itself."""
    me = str(os.getpid())
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it may end while we look
            pid, (_, parent, *_) = int(stat.parent.name), stat.read_text().rpartition(") ")[2].split()
            if parent == me and pid not in ours:
                found.append(pid)
    return found


def reap(ours: Collection[int]) -> None:
    """Collect those that ended, so that none stays a zombie."""
    for pid in adopted(ours):
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)


def end(ours: Collection[int]) -> None:
    """Kill what is left, and what that leaves in turn."""
    while left := adopted(ours):
        for pid in left:
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
