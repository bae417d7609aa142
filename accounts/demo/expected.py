"""The sums of the turns as they are made, in plain Python: what pages and exports are held against."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any, Final

from gateway_project.lib.token_sources import ESTIMATES

BY: Final = {
    "team": "team", "key": "key_name", "model": "model", "lingma_model": "lingma_model", "protocol": "protocol",
    "endpoint": "endpoint", "client_app": "agent", "status": "status", "reason": "reason", "instance": "instance",
    "session": "session", "day": "day",
}  # fmt: skip
SUMS: Final = (
    "turns",
    "failed",
    "refused",
    "prompt_tokens",
    "completion_tokens",
    "estimated_turns",
    "busy_ms",
    "sessions_reused",
)


# By itself, without anything of `accounts/reports` or the ledger: what is compared must not be made by the same code.
class Expected:
    """Adds turns up, in all and by each word of a filter. Days are those of UTC."""

    def __init__(self) -> None:
        self.rows = 0
        self.total = dict.fromkeys(SUMS, 0)
        self.by: dict[str, defaultdict[str, dict[str, int]]] = {
            name: defaultdict(lambda: dict.fromkeys(SUMS, 0)) for name in BY
        }

    def add(self, turn: Mapping[str, Any], key_name: str, team: str) -> None:
        """`team` is "" for a key without one."""
        self.rows += 1
        of_turn = _sums_of(turn)
        named = {**turn, "key_name": key_name, "team": team, "day": turn["started_at"].date().isoformat()}
        for sums in (self.total, *(self.by[name][named[column]] for name, column in BY.items())):
            for name, value in of_turn.items():
                sums[name] += value

    def as_json(self) -> dict[str, Any]:
        by = {name: {word: _known(sums) for word, sums in groups.items()} for name, groups in self.by.items()}
        return {"rows": self.rows, "total": _known(self.total), "by": by}


def _known(sums: dict[str, int]) -> dict[str, int | None]:
    """Of refusals alone nobody counted tokens."""
    if sums["refused"] < sums["turns"]:
        return dict(sums)
    return {**sums, "prompt_tokens": None, "completion_tokens": None}


def _sums_of(turn: Mapping[str, Any]) -> dict[str, int]:
    served = turn["status"] != "refused" and turn["instance"]
    return {
        "turns": turn["count"],
        "failed": turn["count"] if turn["status"] == "error" else 0,
        "refused": turn["count"] if turn["status"] == "refused" else 0,
        "prompt_tokens": turn["prompt_tokens"],
        "completion_tokens": turn["completion_tokens"],
        "estimated_turns": turn["count"] if turn["usage_source"] in ESTIMATES else 0,
        "busy_ms": turn["total_ms"] - turn["queue_ms"] if served else 0,
        "sessions_reused": int(turn["session"] == "reused"),
    }
