"""Formats a record as a line, for people or machines, without secrets; text from outside cannot forge a line."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

import msgspec

from gateway_project.lib.secrets.redaction import redacted
from gateway_project.lib.visible import visible

PLAIN: Final = re.compile(r"[^\s\"'=]+").fullmatch

MOST: Final = 4096
"""Characters of a message or a field. A path alone may have 64 KiB, and anybody may send thousands of them."""
MOST_OF_A_TRACE: Final = 1 << 15

Pieces = tuple[
    tuple[str, str],
    tuple[tuple[str, ...], tuple[Any, ...]],
    Iterable[tuple[str, int | None]],
    tuple[tuple[str, ...], tuple[Any, ...]],
]
"""The fields of a record in their order: one that never comes again, those that come again together, figures, and more
that come again together. Texts of MOST characters at most.
"""


class TextFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return text_line(record)


class JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return json_line(record)


def text_line(record: logging.LogRecord) -> str:
    """For people: time, level, logger, message and its fields; a trace follows, indented."""
    pieces: Pieces | None = getattr(record, "pieces", None)
    fields = _text(_fields(record).items()) if pieces is None else _text_of_pieces(pieces)
    line = f"{stamp(record)} {record.levelname:<7} {record.name}: {visible(_clean(record.getMessage()))}{fields}"
    if trace := _trace(record):
        # Indented, so that no line of a trace, which may quote text from outside, looks like a line of the log.
        line += "".join([f"\n    {visible(each)}" for each in trace.splitlines()])
    return line


def _text(fields: Iterable[tuple[str, Any]]) -> str:
    return "".join(
        [
            f" {name}={value}"
            if type(value) is int
            # Cut before it is cached or redacted: a long text would fill the cache and cost a pass of every pattern.
            else (_text_field(name, value) if type(value) is str and len(value) <= MOST else _other_field(name, value))
            for name, value in fields
        ]
    )


def _text_of_pieces(pieces: Pieces) -> str:
    """The same of a record that knows which of its fields come again together: field by field the line of a turn took
    twice as long.
    """
    first, alike, figures, last = pieces
    numbers = [f" {name}={'-' if value is None else value}" for name, value in figures]
    return f"{_fresh_field(*first)}{_alike(*alike)}{''.join(numbers)}{_alike(*last)}"


@lru_cache(maxsize=1024)
def _alike(names: tuple[str, ...], values: tuple[Any, ...]) -> str:
    return _text(zip(names, values, strict=True))


def json_line(record: logging.LogRecord) -> str:
    """For machines: one object on one line."""
    fields = _fields(record).items()
    line = {
        "time": stamp(record),
        "level": record.levelname,
        "logger": record.name,
        "message": _clean(record.getMessage()),
        **{name: _clean(value) if isinstance(value, str) else _cleaned(value) for name, value in fields},
    }
    if trace := _trace(record):
        line["error"] = trace
    return _escaped(msgspec.json.encode(line, enc_hook=lambda value: _clean(str(value))).decode())


def _escaped(line: str) -> str:
    """The same JSON with invisible characters escaped, so that it is safe on a terminal."""
    # Nearly every line; the loop below is for the few others.
    if line.isprintable():
        return line
    return "".join([each if each.isprintable() else json.dumps(each)[1:-1] for each in line])


def stamp(record: logging.LogRecord) -> str:
    # The text of a second is cached: many lines share it.
    seconds, fraction = divmod(record.created, 1)
    return f"{_second(int(seconds))}.{int(fraction * 1000):03}Z"


@lru_cache(maxsize=4)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    fields: dict[str, Any] = getattr(record, "fields", {})
    return fields


def _other_field(name: str, value: Any) -> str:
    return f" {name}=-" if value is None else _text_field(name, _cut(str(value)))


def _cut(text: str) -> str:
    return text if len(text) <= MOST else f"{text[:MOST]}…"


# The same few words come in every line, so the result for them is cached.


@lru_cache(maxsize=1024)
def _text_field(name: str, text: str) -> str:
    text = redacted(text) or "-"
    # repr of what is not plain: a quote or an equals sign would let text from outside forge fields.
    return f" {name}={text}" if PLAIN(text) and text.isprintable() else f" {name}={text!r}"


_fresh_field = _text_field.__wrapped__
"""For a text that does not come again: the others stay in the cache."""


def _clean(text: str) -> str:
    return _redacted(_cut(text))


@lru_cache(maxsize=1024)
def _redacted(text: str) -> str:
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
    # Past the cache: traces are long and seldom the same.
    return _redacted.__wrapped__(trace)
