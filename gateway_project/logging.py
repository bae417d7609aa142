"""Log lines: for people or for machines, without secrets, and never in the way of the event loop."""

from __future__ import annotations

import json
import logging
import os
import re
import select
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from queue import Empty, SimpleQueue
from typing import Any, Final, Literal

import msgspec

from gateway_project.lib.visible import visible
from gateway_project.log_repeats import Repeats
from gateway_project.redaction import redacted as redacted

LogFormat = Literal["text", "json"]

# How long lines are gathered, so that a busy process is interrupted 20 times a second and not by every line.
GATHER_SEC: Final = 0.05

PLAIN: Final = re.compile(r"[^\s\"'=]+").fullmatch

MOST: Final = 4096
"""Characters of a message or a field. A path alone may have 64 KiB, and strangers may send thousands of them."""
MOST_OF_A_TRACE: Final = 1 << 15

MOST_WAITING: Final = 10_000
"""Records that wait while nobody reads standard error; further ones are dropped and counted."""
MOST_AT_ONCE: Final = 1000
MOST_TRACES_WAITING: Final = 500
"""A trace holds what was in work when it was made, which may be megabytes."""

# These tell every task and every query; at DEBUG they may.
CHATTERERS: Final = ("celery.beat", "celery.worker.strategy", "celery.app.trace", "httpx")


def text_line(record: logging.LogRecord) -> str:
    """For people: time, level, logger, message and its fields."""
    fields = "".join(
        [f" {name}={value if type(value) is int else _spelled(value)}" for name, value in _fields(record).items()]
    )
    line = f"{_stamp(record)} {record.levelname:<7} {record.name}: {visible(_clean(record.getMessage()))}{fields}"
    if trace := _trace(record):
        # Indented, and so no line of a trace, which may quote a stranger, looks like one of the log.
        line += "".join([f"\n    {visible(each)}" for each in trace.splitlines()])
    return line


def json_line(record: logging.LogRecord) -> str:
    """For machines: one object on one line."""
    fields = _fields(record).items()
    line = {
        "time": _stamp(record),
        "level": record.levelname,
        "logger": record.name,
        "message": _clean(record.getMessage()),
        **{name: _clean(value) if isinstance(value, str) else _cleaned(value) for name, value in fields},
    }
    if trace := _trace(record):
        line["error"] = trace
    return _escaped(msgspec.json.encode(line, enc_hook=lambda value: _clean(str(value))).decode())


def _escaped(line: str) -> str:
    """JSON that says the same, also on a terminal: without raw signs that nobody sees."""
    if line.isprintable():
        return line
    return "".join([each if each.isprintable() else json.dumps(each)[1:-1] for each in line])


class Writer(logging.Handler):
    """Takes records at once; a thread of its own formats them and writes them to standard error."""

    def __init__(self, spell: Callable[[logging.LogRecord], str]) -> None:
        super().__init__()
        self._spell = spell
        self._start()
        # A forked child, such as a Celery worker's, has the queue but not the thread.
        os.register_at_fork(after_in_child=self._start)

    def _start(self) -> None:
        self._records: SimpleQueue[logging.LogRecord | None] = SimpleQueue()
        self._repeats = Repeats()
        self._dropped = 0
        self._counting = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
        self._thread.start()

    def handle(self, record: logging.LogRecord) -> bool:
        """Keep the record for the thread. The handler's lock is not needed: the queue has its own."""
        if record.exc_info and _is_callers_fault(record):
            record.exc_info = None
            record.levelno, record.levelname = logging.WARNING, "WARNING"
        waiting = self._records.qsize()
        if waiting > MOST_TRACES_WAITING:
            if waiting > MOST_WAITING:
                self._drop(1)
                return True
            record.exc_info = None
        self._records.put(record)
        return True

    def close(self) -> None:
        """Write what is left; what comes later is lost."""
        if self._thread.is_alive():
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
            told = [record for record in records if self._repeats.admits(record, now)]
            told += self._repeats.all(now) if ended else self._repeats.said(now)
            if told:
                self._write(told)

    def _gathered(self) -> tuple[list[logging.LogRecord], bool]:
        """Records, as soon as there are any, or something is to be said of earlier ones; and whether it was the end."""
        records: list[logging.LogRecord] = []
        try:
            record = self._records.get(timeout=self._until_due())
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
            self._drop(-dropped)

    def _safely(self, record: logging.LogRecord) -> str:
        try:
            return self._spell(record)
        except Exception as exc:  # noqa: BLE001 - an edge: a record that cannot be spelled must not end the log
            return (
                f"{_stamp(record)} ERROR   {__name__}: a record of {record.pathname}:{record.lineno} is broken: {exc!r}"
            )


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


def configure(options: dict[str, Any]) -> None:
    """Django's LOGGING_CONFIG: `options` has `level` and `format`. Every logger ends at the one writer."""
    level, form = options["level"], options["format"]
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if not _is_foreign(handler)]:
        root.removeHandler(handler)
        handler.close()
    root.addHandler(Writer(json_line if form == "json" else text_line))
    root.setLevel(level)
    for name in ("django", "django.server"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    for name in CHATTERERS:
        logging.getLogger(name).setLevel(level if level == "DEBUG" else "WARNING")
    # Queries carry their parameters.
    logging.getLogger("django.db.backends").setLevel("INFO")


def _is_foreign(handler: logging.Handler) -> bool:
    """A test's or a debugger's own handler stays; what writes to the console is ours."""
    return type(handler) is not logging.StreamHandler and not isinstance(handler, Writer)


def _is_callers_fault(record: logging.LogRecord) -> bool:
    """A request that Django refuses, such as one for a foreign host: one line, or strangers would write the log."""
    return record.name.startswith("django.") and 400 <= getattr(record, "status_code", 0) < 500


def _stamp(record: logging.LogRecord) -> str:
    seconds, fraction = divmod(record.created, 1)
    return f"{_second(int(seconds))}.{int(fraction * 1000):03}Z"


@lru_cache(maxsize=4)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    """What `extra={"fields": {…}}` brought along."""
    fields: dict[str, Any] = getattr(record, "fields", {})
    return fields


def _spelled(value: Any) -> str:
    if type(value) is str and 0 < len(value) <= MOST:  # as most are
        return _quoted(value)
    return "-" if value is None or value == "" else _quoted(_cut(str(value)))


def _cut(text: str) -> str:
    return text if len(text) <= MOST else f"{text[:MOST]}…"


# The same few words come in every line, so what was found out about them is kept.


@lru_cache(maxsize=1024)
def _quoted(text: str) -> str:
    text = redacted(text)
    return text if PLAIN(text) and text.isprintable() else repr(text)


def _clean(text: str) -> str:
    return _said(_cut(text))


@lru_cache(maxsize=1024)
def _said(text: str) -> str:
    text = redacted(text)
    # A half of a sign, which JSON may hold, has no bytes.
    return text if text.isascii() else text.encode(errors="backslashreplace").decode()


def _cleaned(value: Any) -> Any:
    match value:
        case int() | None:
            return value
        case str():
            return _clean(value)
        case list() | tuple():
            return [_cleaned(each) for each in value]
        case dict():
            return {_cleaned(name): _cleaned(each) for name, each in value.items()}
        case _:
            return value


def _trace(record: logging.LogRecord) -> str:
    if not record.exc_info or record.exc_info[0] is None:
        return ""
    trace = logging.Formatter().formatException(record.exc_info)
    if len(trace) > MOST_OF_A_TRACE:  # the frames stand at its beginning, what was raised at its end
        trace = f"{trace[: MOST_OF_A_TRACE // 2]}…{trace[-MOST_OF_A_TRACE // 2 :]}"
    return _said.__wrapped__(trace)
