"""The log handler, which never blocks the event loop."""

from __future__ import annotations

import copy
import logging
import os
import select
import sys
import threading
import time
from queue import Empty, SimpleQueue
from typing import Final

from gateway_project.lib.processes import preloading
from gateway_project.log_formatters import stamp
from gateway_project.log_repeats import Repeats

# How long lines are gathered, so that a busy process is interrupted 20 times a second and not by every line.
GATHER_SEC: Final = 0.05

MOST_WAITING: Final = 10_000
"""Records that wait while nobody reads standard error; further ones are dropped and counted."""
MOST_AT_ONCE: Final = 1000
MOST_TRACES_WAITING: Final = 500
"""A trace holds what was in work when it was made, which may be megabytes."""


class QueuedHandler(logging.Handler):
    """
    Takes records at once; a thread of its own formats them and writes them to standard error.

    The library's QueueHandler formats where the record is made, copies it, and wakes its listener for every line: four
    times the CPU, most of it in the event loop (`tests/bench/log_lines.py`).
    """

    def __init__(self) -> None:
        super().__init__()
        self._start()
        # A forked child, such as a Celery worker's, has the queue but not the thread.
        os.register_at_fork(after_in_child=self._start_in_fork)

    def _start_in_fork(self) -> None:
        if not preloading.active:  # else `begin` starts the thread, which writes what was logged while loading, too
            self._start()

    def _start(self) -> None:
        self._records: SimpleQueue[logging.LogRecord | None] = SimpleQueue()
        self._repeats = Repeats()
        self._dropped = 0
        self._counting = threading.Lock()
        self._thread: threading.Thread | None = None
        if not preloading.active:
            self.begin()

    def begin(self) -> None:
        """Write, from now on: in a fork of a process that was preloading, what was logged there, too."""
        # Made here: to Python 3.13 a thread that was made before a fork has been started.
        self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
        self._thread.start()

    def handle(self, record: logging.LogRecord) -> bool:
        """Queue the record for the thread. The handler's lock is not needed: the queue has its own."""
        if self.filters and not self.filter(record):
            return False
        if record.exc_info or len(logging.root.handlers) > 1:
            # Only then: a copy for each record would be a part of the price that this handler avoids.
            record = copy.copy(record)  # other handlers may change it, or want the trace that we leave out
        if record.exc_info and _is_callers_fault(record):
            record.exc_info = None
            record.levelno, record.levelname = logging.WARNING, "WARNING"
        waiting = self._records.qsize()
        if waiting > MOST_TRACES_WAITING:
            if waiting > MOST_WAITING:
                self._drop(1)
                return True
            # The trace goes first and the line stays: it is the trace that holds memory.
            record.exc_info = None
        self._records.put(record)
        return True

    def close(self) -> None:
        """Write what is left; what comes later is lost."""
        if self._thread is not None and self._thread.is_alive():
            self._records.put(None)
            self._thread.join(timeout=2)
        super().close()

    def _drop(self, count: int) -> None:
        with self._counting:  # many threads may drop; the handler's own lock is held while it is closed
            self._dropped += count

    def _run(self) -> None:
        ended = False
        while not ended:
            records, ended = self._gathered()
            now = time.monotonic()
            # Here and not in `handle`: only this thread uses `_repeats`, so it needs no lock.
            due = [record for record in records if self._repeats.admits(record, now)]
            due += self._repeats.all_counts(now) if ended else self._repeats.due_counts(now)
            if due:
                self._write(due)

    def _gathered(self) -> tuple[list[logging.LogRecord], bool]:
        """Records, as soon as there are any or a count of earlier ones is due; and whether it was the end."""
        records: list[logging.LogRecord] = []
        try:
            record = self._records.get(timeout=self._until_due())
            # With many waiting there is no reason to gather more.
            if self._records.qsize() < MOST_AT_ONCE:
                time.sleep(GATHER_SEC)
            while record is not None:
                records.append(record)
                if len(records) >= MOST_AT_ONCE:
                    return records, False
                record = self._records.get_nowait()
        except Empty:
            return records, False
        return records, True

    def _until_due(self) -> float | None:
        due = self._repeats.due
        return None if due == float("inf") else max(0.0, due - time.monotonic())

    def _write(self, records: list[logging.LogRecord]) -> None:
        dropped = self._dropped
        lines = [self._safely(record) for record in records]
        if dropped:
            lines.append(self._safely(_note(f"{dropped:,} lines were dropped: nobody took them")))
        try:
            _write_all("".join([f"{line}\n" for line in lines]).encode(errors="backslashreplace"))
        except (OSError, ValueError, AttributeError):  # closed, gone, or a file on a full disk
            self._drop(len(records))
        else:
            # By what this note counted, not to zero: more may have been dropped during the write.
            self._drop(-dropped)

    def _safely(self, record: logging.LogRecord) -> str:
        try:
            return self.format(record)
        except Exception as exc:  # noqa: BLE001 - an edge: a record that cannot be formatted must not end the log
            return (
                f"{stamp(record)} ERROR   {__name__}: a record of {record.pathname}:{record.lineno} is broken: {exc!r}"
            )


def begin() -> None:
    """Have the handlers write that were made while this process was preloading."""
    for handler in logging.root.handlers:
        if isinstance(handler, QueuedHandler):
            handler.begin()


def _note(words: str) -> logging.LogRecord:
    return logging.LogRecord(__name__, logging.WARNING, "", 0, words, None, None)


def _write_all(data: bytes) -> None:
    """To standard error itself: a thread that waits in a buffer's lock would abort the process at its end."""
    file = sys.stderr.fileno()
    left = memoryview(data)
    while left:
        try:
            left = left[os.write(file, left) :]
        except BlockingIOError:  # somebody who shares it wants no waits
            select.select([], [file], [], 1)


def _is_callers_fault(record: logging.LogRecord) -> bool:
    """A request that Django refuses, such as one for a foreign host: one line, or anybody could fill the log."""
    return record.name.startswith("django.") and 400 <= getattr(record, "status_code", 0) < 500
