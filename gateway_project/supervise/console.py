"""One readable output for many processes: a coloured name before each line, and never a wait for a slow terminal."""

import contextlib
import os
import queue
import select
import sys
import threading
from asyncio import StreamReader

from accounts.visible import visible

COLOURS = (36, 35, 33, 34, 32, 96, 95)
LONGEST_LINE = 1 << 16


class Console:
    """Lines go through a bounded queue to a thread; when nobody reads the output they are dropped, not waited for."""

    def __init__(self, width: int) -> None:
        self._width = width
        self._coloured = sys.stdout.isatty()
        self._colours: dict[str, int] = {}
        self._lines: queue.Queue[bytes | None] = queue.Queue(10_000)
        self._writer = threading.Thread(target=self._write, daemon=True)
        self._writer.start()

    def line(self, name: str, text: bytes) -> None:
        """Print a line of a child's; what would move the cursor is spelled."""
        self._put(self._prefix(name) + visible(text.decode(errors="replace").rstrip("\r")).encode() + b"\n")

    def say(self, text: str) -> None:
        """Print a line of our own."""
        self.line("gateway", text.encode())

    def block(self, text: str) -> None:
        """Print lines as they are, to be copied."""
        self._put(text.encode() + b"\n")

    async def copy(self, name: str, source: StreamReader) -> None:
        """Print a child's output until it ends."""
        rest = b""
        while data := await source.read(LONGEST_LINE):
            *lines, rest = (rest + data).split(b"\n")
            for text in lines:
                self.line(name, text)
            if len(rest) > LONGEST_LINE:
                self.line(name, rest)
                rest = b""
        if rest:
            self.line(name, rest)

    def close(self) -> None:
        """Print what is queued, unless that takes more than a second."""
        self._put(None)
        self._writer.join(1)

    def _prefix(self, name: str) -> bytes:
        padded = f"{name:<{self._width}} | "
        if not self._coloured:
            return padded.encode()
        colour = self._colours.setdefault(name, COLOURS[len(self._colours) % len(COLOURS)])
        return f"\x1b[{colour}m{padded}\x1b[0m".encode()

    def _put(self, data: bytes | None) -> None:
        try:
            self._lines.put_nowait(data)
        except queue.Full:
            return  # a stopped terminal must not stop the gateway

    def _write(self) -> None:
        output = sys.stdout.fileno()
        while (data := self._lines.get()) is not None:
            with contextlib.suppress(OSError):  # the reader is gone, or there is no room: keep emptying the queue
                _write_all(output, data)


def _write_all(output: int, data: bytes) -> None:
    """Past Python's buffer, which would try again at the very end and complain."""
    while data:
        try:
            data = data[os.write(output, data) :]
        except BlockingIOError:  # somebody else who has this terminal wants it so
            select.select([], [output], [], 1)
