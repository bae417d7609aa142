"""Detects a hung child: one that has given no sign of life for too long."""

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import TracebackType

from gateway_project.lib.background import until_next
from gateway_project.lib.processes.life_signs import READY

CHECK_SEC = 1.0
LATE_SEC = 2.0
"""A check that comes later than that was held up itself, so the child may have been too: the count begins anew."""
START_SEC = 120.0
"""Until the first sign."""
PING_SEC = 0.9
"""Less than the time between two checks."""


class Signs:
    """The pipe on which one run of a child gives them."""

    def __init__(self) -> None:
        self._mine, self._theirs = os.pipe()
        # The loop reads it once a second and must not wait for a child that writes nothing.
        os.set_blocking(self._mine, False)
        self.served = False
        """The child has reported that it serves."""
        self.verdict = ""
        """Stands in the log line before how the child ended; empty for a child that did not hang."""

    def __enter__(self) -> "Signs":
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self.hand_over()
        os.close(self._mine)

    @property
    def theirs(self) -> int:
        """The child's end of the pipe."""
        return self._theirs

    def hand_over(self) -> None:
        """Close our copy of the child's end, once the child has it."""
        if self._theirs >= 0:
            os.close(self._theirs)
            self._theirs = -1

    def give_away(self) -> None:
        """In a fork that is the child: its end is all it keeps."""
        os.close(self._mine)

    async def poll(self) -> bool:
        """Whether a sign came since the last check."""
        try:
            received = os.read(self._mine, 1 << 16)
        except BlockingIOError:
            return False
        # Kept for the whole run: it decides whether the next start waits.
        self.served = self.served or READY in received
        return bool(received)


class Pings:
    """Any answer of a Redis is a sign of life, an error too: it may be full, or still load its file."""

    def __init__(self, address: Path) -> None:
        self._address = str(address)

    async def poll(self) -> bool:
        try:
            async with asyncio.timeout(PING_SEC):
                reader, writer = await asyncio.open_unix_connection(self._address)
                with contextlib.closing(writer):
                    # An inline command, which a server takes also before a password; any answer will do, an error too.
                    writer.write(b"PING\r\n")
                    return bool(await reader.read(1))
        except OSError:  # TimeoutError is one
            return False


async def until_hung(poll: Callable[[], Awaitable[bool]], silence: float, pid: int) -> int:
    """Wait until there has been no sign for `silence` seconds; return how many.

    Checks are counted, not seconds: a machine that was suspended, or is too busy for us too, proves nothing about a
    child. The count starts anew when a debugger lets go of the child.
    """
    clock = asyncio.get_running_loop().time
    checks, most = 0, max(START_SEC, silence)
    while checks * CHECK_SEC < most:
        slept, pause = clock(), until_next(CHECK_SEC)
        await asyncio.sleep(pause)
        late = clock() - slept > pause + LATE_SEC
        if await poll():
            # From the first sign on the shorter time counts: a start may be slow, work may not.
            checks, most = 0, silence
        elif late or is_traced(pid):
            checks = 0
        else:
            checks += 1
    return round(checks * CHECK_SEC)


def is_traced(pid: int) -> bool:
    """Whether a debugger holds it. Linux only."""
    with contextlib.suppress(OSError):
        status = Path(f"/proc/{pid}/status").read_text()
        return any(line.startswith("TracerPid:") and line.split()[1] != "0" for line in status.splitlines())
    return False
