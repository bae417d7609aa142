"""The one log line of a turn, without its content. A leaf."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from functools import cached_property
from operator import attrgetter
from typing import Any

from accounts.ledger.row import UsageRow

log = logging.getLogger("bridge.turn")


LEFT_OUT = frozenset(
    (
        "api_key_id", "started_at", "client", "count", "limit_scope", "allowed", "value", "retry_after", "admitted",
        "trace",
    )
)  # fmt: skip
"""Left out of the line of a turn: its key stands there by its hint, the time in front, and the rest is of refusals."""
SHOWN = tuple(name for name in UsageRow.__struct_fields__ if name not in LEFT_OUT)
FIGURES = ("queue_ms", "first_token_ms", "total_ms", "prompt_tokens", "completion_tokens")
_FIRST, _LAST = SHOWN.index(FIGURES[0]), SHOWN.index(FIGURES[-1]) + 1
# What lines have in common mostly, so that it is spelled out once for many of them.
ALIKE, LATER_ALIKE = ("key", *SHOWN[1:_FIRST]), SHOWN[_LAST:]
_alike_of, _figures_of, _later_of = attrgetter(*SHOWN[1:_FIRST]), attrgetter(*FIGURES), attrgetter(*LATER_ALIKE)
LONGEST_MODEL = 100
"""A client may name its model as it likes."""
# All columns in one call: a loop in Python costs a line 2 µs more.
_shown_of = attrgetter(*SHOWN)


def tools_summary(outcomes: Mapping[str, int], decisions: Sequence[str]) -> str:
    """In a few words what became of tools: `3 parsed, 1 repaired; denied run_in_terminal, list_dir`; mostly ""."""
    if not outcomes and not decisions:
        return ""
    calls = ", ".join(f"{count} {outcome}" for outcome, count in outcomes.items() if count)
    verdicts: dict[str, dict[str, None]] = {}
    for decision in decisions:
        verdict, _, name = decision.partition(" ")
        # A dict as an ordered set: each name once, in the order of the turn.
        verdicts.setdefault(verdict, {})[name] = None
    return "; ".join(filter(None, [calls, *(f"{verdict} {', '.join(names)}" for verdict, names in verdicts.items())]))


def turn_line(row: UsageRow, key_hint: str) -> None:
    """Log a turn that ended. `key_hint` is the part of the key that may be shown."""
    if log.isEnabledFor(logging.INFO):
        # Spelling the line out is left to the thread that writes it.
        log.handle(TurnLogRecord(row, key_hint))


def refusal_line(row: UsageRow, key_hint: str, times: int) -> None:
    """Log so many refusals of one kind; `key_hint` is empty when the key is unknown."""
    fields = {
        "request_id": row.request_id,
        "key": key_hint,
        "protocol": row.protocol,
        "endpoint": row.endpoint,
        "model": row.model[:100],
        "status": row.status,
        "reason": row.reason,
        "limit_scope": row.limit_scope,
        "allowed": row.allowed,
        "value": row.value,
        "times": times,
        "client": row.client,
        "agent": row.agent,
    }
    log.info("refused", extra={"fields": {name: value for name, value in fields.items() if value not in ("", None)}})


class TurnLogRecord(logging.LogRecord):
    """
    A record without what nobody asks of it: the library's own looks up caller, thread and process for each.

    It has every attribute of a record, so any handler takes it; those are of the process's start. A line costs 16 µs
    less where the turn ends (`tests/bench/log_lines.py`).
    """

    def __init__(self, row: UsageRow, key_hint: str) -> None:
        self.__dict__.update(_SAME)
        self.created = time.time()
        # Only the reference: the fields are made by the thread that writes, and the row does not change any more.
        self._row = row
        self._key_hint = key_hint

    @cached_property
    def fields(self) -> dict[str, Any]:
        """The fields of the line beside its message; made by the thread that writes it."""
        return _fields(self._row, self._key_hint)

    @property
    def pieces(self) -> tuple[Any, ...] | None:
        """The same as `log_formatters.Pieces`, by what comes again; None when too much of it does not."""
        row = self._row
        if row.tools or row.trace_id or len(row.model) > LONGEST_MODEL:
            return None
        alike = (ALIKE, (self._key_hint, *_alike_of(row)))
        figures = zip(FIGURES, _figures_of(row), strict=True)
        return ("request_id", row.request_id), alike, figures, (LATER_ALIKE, _later_of(row))


_SAME = logging.makeLogRecord({"name": log.name, "levelno": logging.INFO, "levelname": "INFO", "msg": "turn"}).__dict__


def _fields(row: UsageRow, key_hint: str) -> dict[str, Any]:
    fields: dict[str, Any] = {"request_id": row.request_id, "key": key_hint}
    fields.update(zip(SHOWN, _shown_of(row), strict=True))
    fields["model"] = row.model[:LONGEST_MODEL]
    return fields
