"""The instances of all processes as `manage.py pool list` tells them: one for a program, one line for a person."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from bridge.fleet import mirror, timelines
from bridge.fleet.live_view import process_of
from bridge.models import Instance, Login
from bridge.status.accounts import AccountState
from bridge.status.states import InstanceState
from bridge.status.transitions import Transition

HEADS: Final = ("NAME", "STATE", "SINCE", "REASON", "LOGIN", "VERSION", "IN FLIGHT", "PROCESS")
PAUSES: Final = {"limited": "rate limited", "no_plan": "plan used up", "failed": "most turns failed", "": "by order"}


def facts(redis_url: str, at: datetime) -> list[dict[str, Any]]:
    """Of each instance that is there, or was within a day. Raise redis.RedisError."""
    rows = sorted(mirror.current(redis_url), key=lambda each: (each.web_process, len(each.name), each.name))
    steps = timelines.latest(redis_url, [each.name for each in rows])
    labels = dict(Login.objects.filter(pk__in={each.held_login for each in rows}).values_list("pk", "label"))
    return [_facts(each, steps.get(each.name), labels, at) for each in rows]


def _facts(row: Instance, step: Transition | None, labels: Mapping[int, str], at: datetime) -> dict[str, Any]:
    state = InstanceState(row.state)
    # The timeline may be a moment behind, and says nothing of one that is gone.
    is_of_state = step is not None and step.state is state
    since = datetime.fromtimestamp(step.at, UTC) if step is not None and is_of_state else None
    if state is InstanceState.GONE:
        since = row.seen_at
    return {
        "name": row.name,
        "state": state.value,
        "since": since.isoformat(timespec="seconds") if since else None,
        "reason": _reason(row, step if is_of_state else None, at),
        "login": labels.get(row.held_login),
        "account": row.account,
        "version": row.version,
        "in_flight": row.in_flight,
        "limit": row.limit,
        "process": process_of(row.name, row.process),
        "pid": row.pid,
        "last_error": row.last_error,
    }


def _reason(row: Instance, step: Transition | None, at: datetime) -> str:
    """Why it is in its state, and what else keeps turns from it; in English, as a command speaks."""
    told = []
    if step is not None:
        told.append(f"{step.why.label}: {step.detail}" if step.detail else step.why.label)
    if row.maintenance is not None:
        told.append(f"maintenance window {row.maintenance.name} until {_clock(row.maintenance.until)}")
    if row.cool_until is not None and row.cool_until > at:
        told.append(f"{PAUSES.get(row.cools_for, row.cools_for)} until {_clock(row.cool_until.timestamp())}")
    if row.replacing:
        told.append("a successor is starting")
    return "; ".join(told)


def _clock(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")


def table(found: Iterable[Mapping[str, Any]], at: datetime) -> str:
    """One line each, below its heads; the columns are as wide as they have to be."""
    rows: list[Sequence[str]] = [HEADS, *(_cells(each, at) for each in found)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def _cells(each: Mapping[str, Any], at: datetime) -> Sequence[str]:
    since = "" if each["since"] is None else _span((at - datetime.fromisoformat(each["since"])).total_seconds())
    account = AccountState(each["account"]).label
    login = f"{each['login']} ({account})" if each["login"] else account
    load = f"{each['in_flight']}/{each['limit']}"
    cells = each["name"], each["state"], since, each["reason"], login, each["version"], load, each["process"]
    return [" ".join(str(cell).split()) or "-" for cell in cells]


def _span(seconds: float) -> str:
    """In the largest unit that there is one of."""
    whole = max(0, int(seconds))
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if whole >= size:
            return f"{whole // size} {unit}"
    return f"{whole} s"
