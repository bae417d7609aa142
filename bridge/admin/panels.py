"""The service on the first page of the console: what is broken, and how many instances are ready."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

import redis
from django.conf import settings
from django.db.models import Max
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext

from accounts.ledger import services as ledger
from accounts.models import Alert
from bridge.admin import live
from bridge.admin.doctor import DOCTOR
from bridge.admin.troubles import (
    Steps,
    Trouble,
    down_since,
    late_rows,
    steps_of,
    trouble_of_mode,
    troubles_of,
)
from bridge.fleet import mirror, modes
from bridge.models import Instance
from bridge.status.states import TAKING_TURNS
from gateway_project.lib import degraded
from gateway_project.lib.degraded import Mode
from gateway_project.lib.pages.live_rows import redis_away
from gateway_project.lib.pages.panels import Figure, Level, Panel, Section

PAGES = (DOCTOR, *live.PAGES)
OLD = timedelta(seconds=30)  # a heartbeat; they come every second
LEDGER_MODES = frozenset(("redis", "database", "worker", "flush"))
"""While one of them is on, nobody finds out whether the ledger adds up."""


def panel(request: HttpRequest) -> Panel:
    """The instances and what needs a hand; for who may not see instances, that they may not."""
    if not request.user.has_perm("bridge.view_instance"):
        return Panel(position=10, sections=[Section("admin/bridge/hidden.html", {})])
    instances, troubles = instances_now()
    instances = [each for each in instances if not mirror.long_gone(each)]
    active, steps = modes.active(), steps_of(instances)
    troubles = [*map(trouble_of_mode, active), *troubles, *troubles_of(instances, steps)]
    level = level_of(instances, troubles)
    return Panel(
        position=10,
        level=level,
        since=since_when(level, instances, troubles, steps),
        troubles=[each.line for each in troubles],
        figures=[
            instance_figure(instances),
            places_figure(instances),
            *queue_figures(instances),
            *ledger_figures(active),
        ],
    )


def level_of(instances: Iterable[Instance], troubles: Sequence[Trouble]) -> Level:
    if not any(each.state in TAKING_TURNS for each in instances):
        return Level.DOWN
    return Level.DEGRADED if troubles else Level.WELL


def since_when(
    level: Level, instances: Iterable[Instance], troubles: Iterable[Trouble], steps: Steps
) -> datetime | None:
    """When it became as it is now; None where nothing tells."""
    if level == Level.WELL:
        return well_since(instances)
    if level == Level.DOWN and (down := down_since(instances, steps)) is not None:
        return down
    return min((each.since for each in troubles if each.since), default=None)


def well_since(instances: Iterable[Instance]) -> datetime | None:
    """When the last instance was started, or the last trouble was over: of an alert, or that this process has met."""
    times = [each.started_at for each in instances]
    if (ended := degraded.last_end()) is not None:
        times.append(datetime.fromtimestamp(ended, UTC))
    times.append(Alert.objects.filter(lasts=True).aggregate(last=Max("ended_at"))["last"])
    return max(filter(None, times), default=None)


def instances_now() -> tuple[list[Instance], list[Trouble]]:
    """The instances in order, and what is wrong with the parts that all of them need."""
    url = settings.REDIS_URL
    try:
        instances, troubles = mirror.current(url), late_rows(ledger.waiting_since(url))
    except redis.RedisError as exc:
        instances = list(Instance.objects.all())
        troubles = [Trouble(" ".join([redis_away(exc), copy_of(instances)]))]
    return sorted(instances, key=lambda each: (each.process, each.name)), troubles


def copy_of(instances: Iterable[Instance]) -> str:
    """How old the copies are that a page shows."""
    if (at := max((each.seen_at for each in instances), default=None)) is None:
        return gettext("The page shows the last copy.")
    words = gettext("The page shows the last copy, of %(time)s.")
    return words % {"time": f"{timezone.localtime(at):%Y-%m-%d %H:%M:%S %Z}"}


def instance_figure(instances: list[Instance]) -> Figure:
    """How many can take a turn, of those there should be."""
    ready = sum(instance.state in TAKING_TURNS for instance in instances)
    old = timezone.now() - OLD
    # Of a copy nobody knows whether it is still so.
    fine = "good" if any(each.seen_at >= old for each in instances) else ""
    tone = fine if instances and ready == len(instances) else "bad"
    return Figure(
        gettext("Instances ready"), f"{ready} / {len(instances)}", reverse("admin:bridge_instance_changelist"), tone
    )


def places_figure(instances: list[Instance]) -> Figure:
    """How many turns run, of those that could."""
    ready = [each for each in instances if each.state in TAKING_TURNS]
    running, places = sum(each.in_flight for each in instances), sum(each.limit for each in ready)
    return Figure(gettext("Turns running"), f"{running} / {places}", reverse("admin:bridge_instance_changelist"))


def queue_figures(instances: list[Instance]) -> list[Figure]:
    """How many turns wait for a place, as far as heartbeats tell; each tells it of its whole process."""
    by_process = {each.web_process: each.waiting for each in instances if each.waiting is not None}
    if not by_process:
        return []
    waiting = sum(by_process.values())
    return [Figure(gettext("Turns that wait for a place"), f"{waiting:,}", reverse("admin:live"))]


def ledger_figures(active: Iterable[Mode]) -> list[Figure]:
    """Whether the ledger adds up, as the worker finds each minute, and what is not filed yet."""
    modes_on = {mode.name for mode in active}
    rows = reverse("usage_rows")
    balance, tone = (gettext("adds up"), "good") if not modes_on & LEDGER_MODES else ("–", "")
    if "ledger" in modes_on:
        balance, tone = gettext("does not add up"), "bad"
    try:
        backlog = f"{ledger.backlog(settings.REDIS_URL):,}"
    except redis.RedisError:
        backlog = "–"
    return [
        Figure(gettext("Ledger: admitted = closed + open + orphaned"), balance, f"{rows}?reason=orphaned", tone),
        Figure(gettext("Usage rows to be filed"), backlog, reverse("admin:doctor")),
    ]
