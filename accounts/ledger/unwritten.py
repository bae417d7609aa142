"""Lines that no file takes: they wait in memory, bounded, and a thread tries until they are written."""

from __future__ import annotations

import atexit
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Final

log = logging.getLogger(__name__)

MOST_BYTES: Final = 32 << 20
"""About 80,000 turns. Those that come then are lost, and counted."""
RETRY_SEC: Final = 0.5
BATCH: Final = 1000

Line = tuple[Path, bytes]


class Unwritten:
    """Lines of one process, in the order they came. `write` adds lines to a file, and raises OSError."""

    def __init__(self, write: Callable[[Path, Sequence[bytes]], None]) -> None:
        self._write = write
        self._lines: deque[Line] = deque()
        self._bytes = 0
        self._lost = 0
        self._taken = 0
        self._refused: Path | None = None  # the file that took none last
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        # Rows in memory end with the process, so its last act is to try.
        atexit.register(self._final_try)

    def __len__(self) -> int:
        return len(self._lines)

    def keep(self, path: Path, lines: Sequence[bytes]) -> None:
        """Store lines of a file that cannot be written now."""
        with self._lock:
            accepted = [(path, line) for line in lines if self._has_room(len(line))]
            # The first line only is logged, and outside of the lock: a handler may be slow, and the writing thread
            # needs the lock.
            begins = bool(accepted) and self._refused is None
            self._lines += accepted
            self._refused = path if accepted else self._refused
            if self._thread is None and accepted:
                # Made when needed: a gateway whose disk works never has this thread.
                self._thread = threading.Thread(target=self._retry, name="unwritten", daemon=True)
                self._thread.start()
        if begins:
            log.warning("rows wait in memory, where a kill of this process loses them; %s takes none", path)

    def take(self, name: str, most: int) -> list[bytes]:
        """Remove and return up to `most` lines of files of this name: the caller keeps them elsewhere."""
        with self._lock:
            taken = [line for line in self._lines if line[0].name == name][:most]
            self._forget(taken)
            self._taken += len(taken)
        return [data for _, data in taken]

    def _has_room(self, size: int) -> bool:
        if self._bytes + size <= MOST_BYTES:
            self._bytes += size
            return True
        self._lost += 1
        if self._lost == 1:
            log.error("rows are lost from now on: %d bytes of them wait in memory already", self._bytes)
        return False

    def _forget(self, lines: Sequence[Line]) -> None:
        # By identity: two equal lines are two rows.
        removed = set(map(id, lines))
        self._lines = deque(line for line in self._lines if id(line) not in removed)
        self._bytes -= sum(len(data) for _, data in lines)

    def _retry(self) -> None:
        count = 0
        while True:
            time.sleep(RETRY_SEC)
            count += self._write_some()
            with self._lock:
                # Under the lock, as `keep` looks at `_thread` under it: a line is never left without a thread.
                if not self._lines and self._refused is None:
                    self._thread = None
                    taken, lost, self._taken, self._lost = self._taken, self._lost, 0, 0
                    break
        log.warning("no rows wait in memory: %d are written, %d went elsewhere, %d were lost", count, taken, lost)

    def _write_some(self) -> int:
        """Write as many lines as the files take; return how many."""
        count = 0
        try:
            # A copy, so that the disk is waited for without the lock: `keep` is called from the event loop.
            while lines := list(self._lines)[:BATCH]:
                for path, same in groupby(lines, key=lambda line: line[0]):
                    done = list(same)
                    # Forgotten only afterwards. `take` may give them away too: by the request id, twice is once.
                    self._write(path, [data for _, data in done])
                    with self._lock:
                        self._forget(done)
                    count += len(done)
            if self._refused is not None and not count:  # all rows went elsewhere; does the disk take any again?
                self._write(self._refused, [b""])
            self._refused = None
        except OSError:
            pass
        return count

    def _final_try(self) -> None:
        # The thread is a daemon, which ends with the interpreter: one more try here is all that is left.
        self._write_some()
        if self._lines:
            log.critical("%d rows are lost: this process ends, and no file takes them", len(self._lines) + self._lost)
