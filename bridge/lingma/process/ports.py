"""Whose port it is: a service is dialled only where its own processes listen, not where another program was quicker."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Literal

Holder = Literal["nobody", "own", "other", "unknown"]
"""`unknown`: this system has no /proc/net to look it up."""

LISTENING = "0A"
LOOPBACK = frozenset({"0100007F", "0000000000000000FFFF00000100007F"})
# As /proc/net/tcp writes them: 32-bit words in the byte order of the machine, here little-endian.
EVERYWHERE = frozenset({"00000000", "00000000000000000000000000000000", "0000000000000000FFFF000000000000"})


def holder_of(port: int, session: int, also: int = 0, proc: Path = Path("/proc")) -> Holder:
    """Say who listens on this port of 127.0.0.1: "own", a process of that session or the one `also`, "other", "nobody".

    "unknown" where /proc cannot be read. Where two listen, the kernel prefers the one on the loopback address.
    """
    try:
        found = list(_listeners(port, proc))
    except OSError:
        return "unknown"
    # Another program on 0.0.0.0 gets no connection that a listener on 127.0.0.1 takes.
    nearest = {inode for address, inode in found if address in LOOPBACK} or {inode for _, inode in found}
    if not nearest:
        return "nobody"
    # By session and not by child: the program may fork, and its child may be the one that listens.
    return "own" if nearest <= _sockets(session, also, proc) else "other"


def held_since(port: int, pid: int, proc: Path = Path("/proc")) -> int | None:
    """When the process began that listens on this port of 127.0.0.1, in clock ticks; None if it does not, or nobody
    may see whether it does.
    """
    try:
        nearest = {inode for address, inode in _listeners(port, proc) if address in LOOPBACK | EVERYWHERE}
        if not nearest or not nearest <= set(_sockets_of(proc / str(pid) / "fd")):
            return None
        # Field 22 of proc(5), `starttime`. The name before it may hold blanks and brackets, so the count begins
        # behind it.
        return int((proc / str(pid) / "stat").read_text().rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return None


def _listeners(port: int, proc: Path) -> Iterator[tuple[str, str]]:
    """Address and inode of each socket that gets connections to this port of 127.0.0.1."""
    ending = f":{port:04X}"
    for name in ("tcp", "tcp6"):
        if name == "tcp6" and not (proc / "net" / name).exists():  # IPv6 is off
            continue
        for line in (proc / "net" / name).read_text().splitlines()[1:]:
            fields = line.split()
            address = fields[1].removesuffix(ending)
            if fields[3] == LISTENING and fields[1].endswith(ending) and address in LOOPBACK | EVERYWHERE:
                yield address, fields[9]


def _sockets(session: int, also: int, proc: Path) -> set[str]:
    """The inodes of the sockets that the processes of a session hold, and one more process."""
    held: set[str] = set()
    for pid in filter(str.isdigit, os.listdir(proc)):
        with suppress(OSError):  # it has ended meanwhile
            if int(pid) == also or os.getsid(int(pid)) == session:
                held.update(_sockets_of(proc / pid / "fd"))
    return held


def _sockets_of(descriptors: Path) -> Iterator[str]:
    for each in os.listdir(descriptors):
        # A descriptor may be closed between listing and reading it.
        with suppress(OSError):
            target = os.readlink(descriptors / each)
            if target.startswith("socket:["):
                yield target[len("socket:[") : -1]
