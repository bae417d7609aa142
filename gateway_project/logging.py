"""Log lines: for people or for machines, without secrets, and never in the way of the event loop."""

from __future__ import annotations

import logging
import os
import re
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from queue import Empty, SimpleQueue
from typing import Any, Final, Literal

import msgspec

LogFormat = Literal["text", "json"]

# How long lines are gathered, so that a busy process is interrupted 20 times a second and not by every line.
GATHER_SEC: Final = 0.05

# A key of ours keeps as much of its beginning as its hint shows; the hint alone is left as it is.
KEY: Final = re.compile(r"lgw_(?![A-Za-z0-9]{8}(?![\w-]))([A-Za-z0-9]{8}(?=_)|)[\w-]{8,}")
NAMES: Final = ("x-api-key", "access_token", "refresh_token", "password")
SECRETS: Final = (
    re.compile(r"(?i)(bearer[ \t]+)(?!lgw_)[\w.~+/=-]{8,}"),
    re.compile(r"\b(sk-)[\w-]{12,}"),
    re.compile(r"(://[^\s:/@]*:)[^\s/@]+(?=@)"),
    re.compile(rf"(?i)((?:{'|'.join(NAMES)})[\"']?[ \t]*[:=][ \t]*[\"']?)[^\s\"',;}}…]{{6,}}"),
)
# One of these is in every secret, and in few other texts.
SUSPECT: Final = ("lgw_", "bearer", "sk-", "://", *NAMES)

PLAIN: Final = re.compile(r"[^\s\"'=]+").fullmatch

# These tell every task and every query; at DEBUG they may.
CHATTERERS: Final = ("celery.beat", "celery.worker.strategy", "celery.app.trace", "httpx")


def redacted(text: str) -> str:
    """The text without keys, bearer tokens and passwords in URLs."""
    lowered = text.lower()
    if not any(map(lowered.__contains__, SUSPECT)):
        return text
    text = KEY.sub(r"lgw_\1…", text)
    for pattern in SECRETS:
        text = pattern.sub(r"\1…", text)
    return text


def text_line(record: logging.LogRecord) -> str:
    """For people: time, level, logger, message and its fields."""
    fields = "".join([f" {name}={_spelled(value)}" for name, value in _fields(record).items()])
    line = f"{_stamp(record)} {record.levelname:<7} {record.name}: {_clean(record.getMessage())}{fields}"
    return f"{line}\n{trace}" if (trace := _trace(record)) else line


def json_line(record: logging.LogRecord) -> str:
    """For machines: one object on one line."""
    line = {
        "time": _stamp(record),
        "level": record.levelname,
        "logger": record.name,
        "message": _clean(record.getMessage()),
        **{name: _clean(value) if isinstance(value, str) else value for name, value in _fields(record).items()},
    }
    if trace := _trace(record):
        line["error"] = trace
    return msgspec.json.encode(line, enc_hook=lambda value: _clean(str(value))).decode()


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
        self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
        self._thread.start()

    def handle(self, record: logging.LogRecord) -> bool:
        """Keep the record for the thread. The handler's lock is not needed: the queue has its own."""
        self._records.put(record)
        return True

    def close(self) -> None:
        """Write what is left; what comes later is lost."""
        if self._thread.is_alive():
            self._records.put(None)
            self._thread.join(timeout=2)
        super().close()

    def _run(self) -> None:
        while (first := self._records.get()) is not None:
            time.sleep(GATHER_SEC)
            rest, ended = self._gathered()
            self._write([first, *rest])
            if ended:
                return

    def _gathered(self) -> tuple[list[logging.LogRecord], bool]:
        records: list[logging.LogRecord] = []
        while True:
            try:
                record = self._records.get_nowait()
            except Empty:
                return records, False
            if record is None:
                return records, True
            records.append(record)

    def _write(self, records: list[logging.LogRecord]) -> None:
        lines = "".join(f"{self._safely(record)}\n" for record in records)
        try:
            sys.stderr.write(lines)
            sys.stderr.flush()
        except (OSError, ValueError, AttributeError):  # standard error is closed or gone: nobody reads this
            pass

    def _safely(self, record: logging.LogRecord) -> str:
        try:
            return self._spell(record)
        except Exception as exc:  # noqa: BLE001 - an edge: a record that cannot be spelled must not end the log
            return (
                f"{_stamp(record)} ERROR   {__name__}: a record of {record.pathname}:{record.lineno} is broken: {exc!r}"
            )


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
    if type(value) is int:
        return str(value)
    return "-" if value is None or value == "" else _quoted(str(value))


# The same few words come in every line, so what was found out about them is kept.


@lru_cache(maxsize=1024)
def _quoted(text: str) -> str:
    text = redacted(text)
    return text if PLAIN(text) else repr(text)


@lru_cache(maxsize=1024)
def _clean(text: str) -> str:
    return redacted(text)


def _trace(record: logging.LogRecord) -> str:
    if not record.exc_info or record.exc_info[0] is None:
        return ""
    return redacted(logging.Formatter().formatException(record.exc_info))
