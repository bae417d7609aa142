"""What is not ready and why, in a closed set of words: everybody may read them, and details hold addresses."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

from bridge.fleet import modes
from bridge.status.accounts import AccountState
from bridge.status.instance import InstanceStatus
from bridge.status.wanted import Mode
from gateway_project.lib.degraded import STILL_WORKS

REASONS: Final = (
    *((re.compile(re.escape(each.label)), "") for each in AccountState if not each.may_chat),
    (re.compile(r"the program exited with code -?\d{1,10}"), ""),
    (re.compile(r"connection lost"), "the connection was lost"),
    (re.compile(r"the service did not answer in time"), "the service did not answer in time"),
    (re.compile(r"another program listens"), "another program listens on its port"),
    (re.compile(r".*: no Lingma service answers there", re.DOTALL), "no Lingma service answers"),
    (re.compile(r".*\.info\.json: ", re.DOTALL), "no Lingma service was found"),
)
"""What an error begins with, and what is shown of it; "": the words that were found themselves."""

OTHER: Final = "it cannot be used; the admin console says why"


def public_reason(status: InstanceStatus) -> str:
    """One of a few sentences; "" for an instance that is ready, or has not failed yet."""
    if status.mode is not Mode.RUN:
        return "held by order of an operator"
    if status.maintenance is not None:
        return "in a maintenance window"
    if status.state.takes_turns or not status.last_error:
        return ""
    for pattern, reason in REASONS:
        # Matched, not passed on: an error may contain a path, an address or an account.
        if found := pattern.match(status.last_error):
            return reason or found[0]
    return OTHER


def public_modes() -> list[dict[str, str]]:
    """The parts that are away: name, since when, and what still works. Reasons are for the console alone."""
    return [
        {
            "name": each.name,
            "since": datetime.fromtimestamp(each.since, UTC).isoformat(timespec="seconds"),
            "still_works": STILL_WORKS[each.name],
        }
        for each in modes.active()
    ]
