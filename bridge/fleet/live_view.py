"""What the live page shows: one snapshot of the gateway, of the reports of its web processes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final

import msgspec
import redis

from bridge.status.instance import InstanceStatus
from bridge.status.live import (
    MOST_SHOWN,
    LiveInstance,
    LiveKey,
    LiveLogin,
    LiveMode,
    LiveProcess,
    LiveRates,
    LiveReport,
    LiveTurn,
    LiveView,
)
from bridge.status.states import TAKING_TURNS
from bridge.status.wanted import Mode
from gateway_project.lib import degraded
from gateway_project.lib.redis import redis_keys
from gateway_project.lib.secrets.redaction import redacted
from gateway_project.lib.visible import visible

LONGEST_ERROR: Final = 300
"""Characters of a last error; the page of the instance has all of it."""
PEOPLE: Final = ("accounts.view_usage", "bridge.view_login")
"""Without all of these rights nobody sees whose turns run, nor logins."""
WATCHED_SEC: Final = 5
"""So long after the last look processes go on reporting."""
REPORT_SEC: Final = 4
"""An older report is of a process that has ended, or lost Redis."""

encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(LiveReport).decode


def read_reports(client: redis.Redis, within: int = REPORT_SEC) -> list[LiveReport]:
    """Ask all processes to report, and return what they have within so many seconds. Raise redis.RedisError."""
    pipe = client.pipeline(transaction=False)
    pipe.set(redis_keys.WATCHED, 1, ex=WATCHED_SEC)
    pipe.time()
    pipe.hgetall(redis_keys.LIVE)
    # A server that is full takes no key and still tells.
    _, time_, values = pipe.execute(raise_on_error=False)
    for each in (time_, values):
        if isinstance(each, Exception):
            raise each
    now = time_[0]
    aged: list[tuple[bytes, bytes, bytes]] = [value.partition(b" ") for value in values.values()]
    return decoded(report for at, _, report in aged if int(at) >= now - within)


def decoded(reports: Iterable[bytes]) -> list[LiveReport]:
    """Those that can be read: during an update, processes of two versions may run at once."""
    found = []
    for each in reports:
        try:
            found.append(_decode(each))
        except msgspec.MsgspecError:
            continue
    return found


def live_view(
    reports: Iterable[LiveReport],
    statuses: Iterable[InstanceStatus],
    modes: Iterable[degraded.Mode],
    now: float,
    logins: Sequence[LiveLogin] = (),
) -> LiveView:
    """In one order, so that rows stay where they are. `statuses` are of processes that may not have reported."""
    found = _of_each(reports)
    names = reported(found.values())
    for report in _of_statuses((each for each in statuses if each.name not in names), now):
        found.setdefault(report.name, report)
    in_order = sorted(found.values(), key=lambda each: (each.process, each.name))
    instances = sorted((each for report in in_order for each in report.instances), key=lambda each: each.name)
    return LiveView(
        at=now,
        modes=[LiveMode(each.name, _shown(each.why), each.since) for each in modes],
        in_flight=sum(each.in_flight for each in in_order),
        places=sum(each.limit for each in instances if each.state in TAKING_TURNS),
        waiting=sum(each.waiting for each in in_order),
        backlog=max((each.backlog for each in in_order), default=0),
        rates=_together([each.rates for each in in_order if each.rates is not None]),
        held=bool(instances) and all(each.held for each in instances),
        processes=list(map(_line, in_order)),
        instances=instances,
        turns=_first(turn for each in in_order for turn in each.turns),
        queue=_queue(line for each in in_order for line in each.queue),
        logins=list(logins[:MOST_SHOWN]),
    )


def reported(reports: Iterable[LiveReport]) -> set[str]:
    """The names of all instances in them."""
    return {each.name for report in reports for each in report.instances}


def without_people(view: LiveView) -> LiveView:
    """For who may see instances and has not all of PEOPLE."""
    return msgspec.structs.replace(view, turns=[], queue=[], logins=[])


def _of_each(reports: Iterable[LiveReport]) -> dict[str, LiveReport]:
    """The latest of each process: one that was started anew may have two for a moment."""
    found: dict[str, LiveReport] = {}
    for each in reports:
        if each.name not in found or each.at > found[each.name].at:
            found[each.name] = each
    return found


def _of_statuses(statuses: Iterable[InstanceStatus], now: float) -> list[LiveReport]:
    """What heartbeats tell of each process."""
    own: dict[str, list[InstanceStatus]] = {}
    for each in statuses:
        own.setdefault(process_of(each.name, each.process), []).append(each)
    return [
        # Each heartbeat tells of all turns that wait in its process.
        LiveReport(
            name, those[0].process, now, list(map(live_instance, those)), sum(each.in_flight for each in those),
            max(each.waiting for each in those),
        )
        for name, those in own.items()
    ]  # fmt: skip


def process_of(instance: str, number: int) -> str:
    """The name of its process: where there are several machines, its own name begins with that of the machine."""
    node = instance.rpartition(f"-w{number}-")[0]
    return f"{node}/web-{number}" if node else f"web-{number}"


def live_instance(status: InstanceStatus) -> LiveInstance:
    window = status.maintenance
    return LiveInstance(
        name=status.name,
        process=status.process,
        state=status.state,
        account=status.account,
        in_flight=status.in_flight,
        limit=status.limit,
        restarts=status.restarts,
        version=visible(status.version),
        started_at=status.started_at,
        login_expires_at=status.login_expires_at,
        cool_until=status.cool_until,
        cools_for=status.cools_for,
        last_error=_shown(status.last_error),
        replacing=status.replacing,
        held=status.mode is not Mode.RUN or window is not None,
        window=visible(window.name) if window is not None else "",
        window_until=window.until if window is not None else 0.0,
        memory=status.memory or 0,
        disk=status.disk or 0,
    )


@lru_cache(1024)  # the same ones each second
def _shown(text: str) -> str:
    return visible(redacted(text))[:LONGEST_ERROR]


def _line(report: LiveReport) -> LiveProcess:
    return LiveProcess(
        report.name,
        report.in_flight,
        report.waiting,
        report.pid,
        report.started_at,
        report.memory,
        report.rates is not None,
    )


def _together(rates: Sequence[LiveRates]) -> LiveRates | None:
    if not rates:
        return None
    begun = [(each.begun or each.turns, each.first_token_ms) for each in rates if each.first_token_ms is not None]
    weight = sum(turns for turns, _ in begun)
    first = round(sum(turns * ms for turns, ms in begun) / weight) if weight else None
    return LiveRates(
        sum(each.turns for each in rates),
        sum(each.failed for each in rates),
        sum(each.tokens for each in rates),
        first,
        sum(each.begun for each in rates),
    )


def _first(turns: Iterable[LiveTurn]) -> list[LiveTurn]:
    return sorted(turns, key=lambda each: (each.started_at, each.id))[:MOST_SHOWN]


def _queue(lines: Iterable[LiveKey]) -> list[LiveKey]:
    """One line for each key, the longest first."""
    of_key: dict[int, list[LiveKey]] = {}
    for each in lines:
        of_key.setdefault(each.key, []).append(each)
    found = [
        LiveKey(key, those[0].key_name, sum(each.waiting for each in those), min(each.since for each in those))
        for key, those in of_key.items()
    ]
    return sorted(found, key=lambda each: (-each.waiting, each.key))[:MOST_SHOWN]
