"""`logs/lingma.log`."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path


class ServiceLog:
    """A line is on disk when `write` returns, because clients read usage from here.

    A line that the disk does not take is lost, and nothing else is.
    """

    def __init__(self, root: Path, max_bytes: int = 0) -> None:
        self.path = root / "logs" / "lingma.log"
        self.max_bytes = max_bytes
        self._open()

    def _open(self) -> None:
        self._file = self.path.open("ab", buffering=0)
        # Counted from here on: asking the disk at every line would cost a system call.
        self._size = self.path.stat().st_size

    def write(self, line: str) -> None:
        """Append one line, with time and level in front."""
        stamp = time.strftime("%Y-%m-%d %H:%M:%S")
        data = f"{stamp} [INFO] {line}\n".encode("utf-8", "replace")
        with suppress(OSError):
            self._size += self._file.write(data)
        if 0 < self.max_bytes <= self._size:
            self._rotate()

    def _rotate(self) -> None:
        self._file.close()
        # The nanoseconds keep two rotations of one second apart.
        self.path.rename(self.path.with_name(f"lingma-{time.strftime('%Y%m%dT%H%M%S')}-{time.time_ns() % 10**9}.log"))
        self._open()
