"""Whether a child has hung: who gives no sign of life for too long has."""

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import TracebackType

from gateway_project.lib.life_signs import READY

LOOK_SEC = 1.0
LATE_SEC = 2.0
"""A look that comes later than that was held up itself, so the child may have been too: it begins anew."""
START_SEC = 120.0
"""Until the first sign."""
PING_SEC = 0.9
"""Less than lies between two looks."""


class Signs:
    """The pipe on which one run of a child gives them."""

    def __init__(self) -> None:
        self._mine, self._theirs = os.pipe()
        # The loop looks at it once a second and must not wait for a child that says nothing.
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

    async def heard(self) -> bool:
        """Whether a sign came since the last look."""
        try:
            told = os.read(self._mine, 1 << 16)
        except BlockingIOError:
            return False
        # Kept for the whole run: it decides whether the next start waits.
        self.served = self.served or READY in told
        return bool(told)


class Pings:
    """Any answer of a Redis is a sign of life, an error too: it may be full, or still load its file."""

    def __init__(self, address: Path) -> None:
        self._address = str(address)

    async def heard(self) -> bool:
        try:
            async with asyncio.timeout(PING_SEC):
                reader, writer = await asyncio.open_unix_connection(self._address)
                with contextlib.closing(writer):
                    # An inline command, which a server takes also before a password; any answer will do, an error too.
                    writer.write(b"PING\r\n")
                    return bool(await reader.read(1))
        except OSError:  # TimeoutError is one
            return False


async def until_hung(heard: Callable[[], Awaitable[bool]], silence: float, pid: int) -> int:
    """Wait until there has been no sign for `silence` seconds; return how many.

    Looks are counted, not time: a machine that was suspended, or has no time for us either, says nothing of a child.
    One that a debugger holds has all its time when that lets go.
    """
    clock = asyncio.get_running_loop().time
    looks, most, looked = 0, max(START_SEC, silence), clock()
    while looks * LOOK_SEC < most:
        slept, pause = clock(), max(0.0, looked + LOOK_SEC - clock())  # a ping takes some of it
        await asyncio.sleep(pause)
        looked = clock()
        late = looked - slept > pause + LATE_SEC
        if await heard():
            # From the first sign on the shorter time counts: a start may be slow, work may not.
            looks, most = 0, silence
        elif late or is_traced(pid):
            looks = 0
        else:
            looks += 1
    return round(looks * LOOK_SEC)


def is_traced(pid: int) -> bool:
    """Whether a debugger holds it. Linux only."""
    with contextlib.suppress(OSError):
        status = Path(f"/proc/{pid}/status").read_text()
        return any(line.startswith("TracerPid:") and line.split()[1] != "0" for line in status.splitlines())
    return False
