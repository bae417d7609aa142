"""What the live page shows: one snapshot of the gateway, encoded once however many watch."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from bridge.status.instance import InstanceStatus
from gateway_project.lib.redaction import redacted
from gateway_project.lib.visible import visible

LONGEST_ERROR = 300
"""Characters of a last error; the page of the instance has all of it."""


class LiveInstance(msgspec.Struct, frozen=True):
    """One instance; times are Unix seconds, 0 for none."""

    name: str
    process: int
    state: str
    account: str
    in_flight: int
    limit: int
    restarts: int
    version: str
    started_at: float
    login_expires_at: float
    cool_until: float
    last_error: str
    replacing: bool


class LiveProcess(msgspec.Struct, frozen=True):
    """One web process: what runs and what waits there."""

    process: int
    in_flight: int
    waiting: int


class LiveView(msgspec.Struct, frozen=True):
    """The gateway as it is at one moment."""

    at: float
    modes: list[str]
    """What is away."""
    processes: list[LiveProcess]
    instances: list[LiveInstance]


def live_view(statuses: Iterable[InstanceStatus], modes: Iterable[str], now: float) -> LiveView:
    """The same from heartbeats as from a pool; in one order, so that rows stay where they are."""
    found = sorted(statuses, key=lambda each: (each.process, each.name))
    numbers = dict.fromkeys(each.process for each in found)
    return LiveView(now, list(modes), [_process(number, found) for number in numbers], list(map(_instance, found)))


def _process(number: int, found: Iterable[InstanceStatus]) -> LiveProcess:
    own = [each for each in found if each.process == number]
    # Each heartbeat tells of all turns that wait in its process.
    return LiveProcess(number, sum(each.in_flight for each in own), max(each.waiting for each in own))


def _instance(status: InstanceStatus) -> LiveInstance:
    return LiveInstance(
        name=status.name,
        process=status.process,
        state=status.state,
        account=status.account,
        in_flight=status.in_flight,
        limit=status.limit,
        restarts=status.restarts,
        version=status.version,
        started_at=status.started_at,
        login_expires_at=status.login_expires_at,
        cool_until=status.cool_until,
        last_error=visible(redacted(status.last_error))[:LONGEST_ERROR],
        replacing=status.replacing,
    )


encode = msgspec.json.Encoder().encode
