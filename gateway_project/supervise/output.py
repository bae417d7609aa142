"""One readable output for many processes: a coloured name before each line, and no wait for a slow terminal."""

import os
import queue
import select
import sys
import threading
from asyncio import StreamReader

from gateway_project.lib.visible import visible

COLOURS = (36, 35, 33, 34, 32, 96, 95)
LONGEST_LINE = 1 << 16
MOST_LINES = 10_000
MOST_AT_ONCE = 100
MOST_BYTES = 8 << 20
"""Of lines that wait while nobody reads the output; further ones are dropped and counted."""


class Output:
    """Lines go through a bounded queue to a thread; when nobody reads the output they are dropped, not waited for."""

    def __init__(self, width: int) -> None:
        self._width = width
        self._coloured = sys.stdout is not None and sys.stdout.isatty()
        self._colours: dict[str, int] = {}
        self._lines: queue.Queue[bytes | None] = queue.Queue(MOST_LINES)
        self._put_bytes = 0  # by the event loop
        self._written_bytes = 0  # by the thread
        self._dropped = 0  # by the event loop: lines for which there was no room
        self._reported = 0  # by the thread: how many of those it has reported
        self._failed = 0  # by the thread: lines that could not be written
        # A thread, for a write to a terminal blocks; a daemon, so that one that never returns keeps nobody.
        self._writer = threading.Thread(target=self._write, daemon=True)
        self._writer.start()

    def line(self, name: str, text: bytes) -> None:
        """Print a line of a child's; control characters are escaped."""
        self._put(self._prefix(name) + visible(text.decode(errors="replace").rstrip("\r")).encode() + b"\n")

    def message(self, text: str) -> None:
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
            # A child that writes no newline must not fill our memory.
            if len(rest) > LONGEST_LINE:
                self.line(name, rest)
                rest = b""
        if rest:
            self.line(name, rest)

    def close(self) -> None:
        """Print what is queued, unless that takes more than a second."""
        # The mark of the end goes behind all lines, so these are written first.
        self._put(None)
        self._writer.join(1)

    def _prefix(self, name: str) -> bytes:
        padded = f"{name:<{self._width}} | "
        if not self._coloured:
            return padded.encode()
        colour = self._colours.setdefault(name, COLOURS[len(self._colours) % len(COLOURS)])
        return f"\x1b[{colour}m{padded}\x1b[0m".encode()

    def _put(self, data: bytes | None) -> None:
        size = len(data or b"")
        if self._put_bytes - self._written_bytes + size > MOST_BYTES:
            self._dropped += 1  # a stopped terminal must not stop the gateway
            return
        try:
            self._lines.put_nowait(data)
        except queue.Full:
            self._dropped += 1
        else:
            self._put_bytes += size

    def _write(self) -> None:
        ended = False
        while not ended:
            lines, ended = self._gathered()
            # Before the write: lines in hand are not counted twice, and each side changes only its own counter, so no
            # lock.
            self._written_bytes += sum(map(len, lines))
            # The note comes before the lines that follow the gap.
            lost = self._dropped - self._reported + self._failed
            note = [self._note(lost)] if lost else []
            try:
                write_all(b"".join([*note, *lines]))
            except (OSError, ValueError, AttributeError):  # the reader is gone, or a file is on a full disk
                self._failed += len(lines)
            else:
                self._reported, self._failed = self._reported + lost - self._failed, 0

    def _gathered(self) -> tuple[list[bytes], bool]:
        """Lines as soon as there are any, and whether the last of them is among them."""
        lines: list[bytes] = []
        data = self._lines.get()
        try:
            while data is not None:
                lines.append(data)
                if len(lines) >= MOST_AT_ONCE:
                    return lines, False
                data = self._lines.get_nowait()
        except queue.Empty:
            return lines, False
        return lines, True

    def _note(self, lost: int) -> bytes:
        return self._prefix("gateway") + f"{lost:,} lines were dropped: nobody took them\n".encode()


def write_all(data: bytes) -> None:
    """To the output itself: a thread that waits in a buffer's lock would abort the process at its end."""
    file = sys.stdout.fileno()
    while data:
        try:
            data = data[os.write(file, data) :]
        except BlockingIOError:  # somebody who shares it wants no waits
            select.select([], [file], [], 1)
