"""The one log line of a turn: everything but what was said. A leaf."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

log = logging.getLogger("bridge.turn")


class TurnRow(Protocol):
    """What the line tells of a turn: a usage row has it all."""

    request_id: str
    protocol: str
    endpoint: str
    model: str
    lingma_model: str
    instance: str
    session: str
    stream: bool
    status: str
    reason: str
    queue_ms: int
    first_token_ms: int | None
    total_ms: int
    prompt_tokens: int
    completion_tokens: int
    usage_source: str
    agent: str
    tools: str


def tools_told(outcomes: Mapping[str, int], decisions: Sequence[str]) -> str:
    """In a few words what became of tools: `3 parsed, 1 repaired; denied run_in_terminal, list_dir`; mostly ""."""
    if not outcomes and not decisions:
        return ""
    calls = ", ".join(f"{count} {outcome}" for outcome, count in outcomes.items() if count)
    verdicts: dict[str, dict[str, None]] = {}
    for decision in decisions:
        verdict, _, name = decision.partition(" ")
        verdicts.setdefault(verdict, {})[name] = None
    return "; ".join(filter(None, [calls, *(f"{verdict} {', '.join(names)}" for verdict, names in verdicts.items())]))


def turn_line(row: TurnRow, key_hint: str) -> None:
    """Log a turn that ended. `key_hint` is the part of the key that may be shown."""
    if log.isEnabledFor(logging.INFO):
        # Spelling the line out is left to the thread that writes it.
        log.handle(TurnRecord(row, key_hint))


class RefusedRow(Protocol):
    """What the line of a refusal tells: a usage row has it all."""

    request_id: str
    protocol: str
    endpoint: str
    model: str
    status: str
    reason: str
    client: str
    agent: str
    allowed: int | None
    value: int | None


def refusal_line(row: RefusedRow, key_hint: str, times: int) -> None:
    """Log so many refusals of one kind; `key_hint` is empty when the key is unknown."""
    fields = {
        "request_id": row.request_id,
        "key": key_hint,
        "protocol": row.protocol,
        "endpoint": row.endpoint,
        "model": row.model[:100],
        "status": row.status,
        "reason": row.reason,
        "allowed": row.allowed,
        "value": row.value,
        "times": times,
        "client": row.client,
        "agent": row.agent,
    }
    log.info("refused", extra={"fields": {name: value for name, value in fields.items() if value not in ("", None)}})


class TurnRecord(logging.LogRecord):
    """A record without what nobody asks of it: the library's own looks up caller, thread and process for each."""

    def __init__(self, row: TurnRow, key_hint: str) -> None:
        self.__dict__.update(_SAME)
        self.created = time.time()
        self._row = row
        self._key_hint = key_hint

    @property
    def fields(self) -> dict[str, Any]:
        """What the line tells beside its message; asked for by the thread that writes it."""
        return _fields(self._row, self._key_hint)


_SAME = logging.makeLogRecord({"name": log.name, "levelno": logging.INFO, "levelname": "INFO", "msg": "turn"}).__dict__


def _fields(row: TurnRow, key_hint: str) -> dict[str, Any]:
    return {
        "request_id": row.request_id,
        "key": key_hint,
        "protocol": row.protocol,
        "endpoint": row.endpoint,
        # A client may name its model as it likes.
        "model": row.model[:100],
        "lingma_model": row.lingma_model,
        "instance": row.instance,
        "session": row.session,
        "stream": row.stream,
        "status": row.status,
        "reason": row.reason,
        "queue_ms": row.queue_ms,
        "first_token_ms": row.first_token_ms,
        "total_ms": row.total_ms,
        "prompt_tokens": row.prompt_tokens,
        "completion_tokens": row.completion_tokens,
        "usage_source": row.usage_source,
        "agent": row.agent,
        "tools": row.tools,
    }
