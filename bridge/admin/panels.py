"""The service on the first page of the console: what is broken, and how many instances are ready."""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import redis
from django.conf import settings
from django.db.models import Max
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.text import Truncator
from django.utils.translation import gettext, ngettext

from accounts.ledger import services as ledger
from accounts.models import Alert
from bridge.admin import live
from bridge.admin.doctor import DOCTOR
from bridge.admin.maintenance import clock
from bridge.fleet import mirror, modes
from bridge.models import Instance, InstanceOrder
from bridge.models.order import ALL
from bridge.status.states import TAKING_TURNS, InstanceState
from bridge.status.wanted import Maintenance
from gateway_project.lib import degraded
from gateway_project.lib.degraded import STILL_WORKS, WHAT_TO_DO, Mode
from gateway_project.lib.live_rows import redis_away
from gateway_project.lib.panels import Figure, Level, Panel, Section
from gateway_project.lib.visible import visible

PAGES = (DOCTOR, *live.PAGES)
LONGEST_REASON = 160
OLD = timedelta(seconds=30)  # a heartbeat; they come every second
LATE = 30.0  # seconds; usage rows are filed every two
LEDGER_MODES = frozenset(("redis", "database", "worker", "flush"))
"""While one of them is on, nobody finds out whether the ledger adds up."""


def panel(request: HttpRequest) -> Panel:
    """The instances and what needs a hand; for who may not see instances, that they may not."""
    if not request.user.has_perm("bridge.view_instance"):
        return Panel(position=10, sections=[Section("admin/bridge/hidden.html", {})])
    instances, troubles = instances_now()
    instances = [each for each in instances if not mirror.long_gone(each)]
    broken, active = list(filter(needs_a_hand, instances)), modes.active()
    troubles = [*map(trouble_of_mode, active), *troubles, *troubles_of(broken), *holds_of(instances)]
    troubles += maintenance_of(instances)
    level = level_of(instances, troubles)
    return Panel(
        position=10,
        level=level,
        since=well_since(instances) if level == Level.WELL else since_when(broken, active),
        troubles=troubles,
        figures=[
            instance_figure(instances),
            places_figure(instances),
            *queue_figures(instances),
            *ledger_figures(active),
        ],
    )


def level_of(instances: Iterable[Instance], troubles: list[str]) -> Level:
    if not any(each.state in TAKING_TURNS for each in instances):
        return Level.DOWN
    return Level.DEGRADED if troubles else Level.WELL


def since_when(broken: Iterable[Instance], active: Iterable[Mode]) -> datetime | None:
    """When the first of what is wrong now began; None where nothing tells."""
    times = [datetime.fromtimestamp(mode.since, UTC) for mode in active]
    # An instance that is gone was seen for the last time then; the others are seen every second.
    times += [each.seen_at for each in broken if each.state == InstanceState.GONE]
    return min(times, default=None)


def well_since(instances: Iterable[Instance]) -> datetime | None:
    """When the last instance was started, or the last trouble was over: of an alert, or that this process has met."""
    times = [each.started_at for each in instances]
    if (ended := degraded.last_end()) is not None:
        times.append(datetime.fromtimestamp(ended, UTC))
    times.append(Alert.objects.filter(lasts=True).aggregate(last=Max("ended_at"))["last"])
    return max(filter(None, times), default=None)


def instances_now() -> tuple[list[Instance], list[str]]:
    """The instances in order, and what is wrong with the parts that all of them need."""
    url = settings.REDIS_URL
    try:
        instances, troubles = mirror.current(url), late_rows(ledger.waiting_since(url))
    except redis.RedisError as exc:
        instances = list(Instance.objects.all())
        troubles = [" ".join([redis_away(exc), copy_of(instances)])]
    return sorted(instances, key=lambda each: (each.process, each.name)), troubles


def copy_of(instances: Iterable[Instance]) -> str:
    """How old the copies are that a page shows."""
    if (at := max((each.seen_at for each in instances), default=None)) is None:
        return gettext("The page shows the last copy.")
    words = gettext("The page shows the last copy, of %(time)s.")
    return words % {"time": f"{timezone.localtime(at):%Y-%m-%d %H:%M:%S %Z}"}


def late_rows(waiting_since: float | None) -> list[str]:
    """Whether usage rows wait for longer than they should."""
    late = time.time() - waiting_since if waiting_since else 0.0
    if late > LATE:
        waited = gettext("Usage rows have waited for %(seconds)d s to be filed. Is the Celery worker running?")
        return [waited % {"seconds": round(late)}]
    return []


def trouble_of_mode(mode: Mode) -> str:
    """What is away since when, why, and what still works."""
    since = timezone.localtime(datetime.fromtimestamp(mode.since, UTC))
    why = Truncator(visible(" ".join((mode.why and gettext(mode.why)).split()))).chars(LONGEST_REASON)
    trouble = gettext("Degraded: %(part)s since %(time)s (%(why)s). Still: %(still)s.")
    still = gettext(STILL_WORKS[mode.name])
    said = trouble % {"part": mode.name, "time": f"{since:%H:%M:%S %Z}", "why": why, "still": still}
    return f"{said} {gettext(WHAT_TO_DO[mode.name])}"


def needs_a_hand(instance: Instance) -> bool:
    """Whether somebody should look at it: what starts or drains is left alone."""
    return InstanceState(instance.state).needs_attention


def troubles_of(instances: Iterable[Instance]) -> list[str]:
    """One line for each state, however many instances are in it: the causes are few, and the list has them all."""
    by_state: dict[str, list[Instance]] = {}
    for each in instances:
        by_state.setdefault(each.state, []).append(each)
    return [trouble_of(state, alike) for state, alike in by_state.items()]


def trouble_of(state: str, instances: list[Instance]) -> str:
    """Which instances, since when, and why, as far as one line goes; the rest is where it leads."""
    errors = {each.last_error for each in instances if each.last_error}
    why = Truncator(visible(" ".join(min(errors).split()))).chars(LONGEST_REASON) if errors else ""
    happened = instances[0].get_state_display()
    if state == InstanceState.GONE:
        first_gone = timezone.localtime(min(each.seen_at for each in instances))
        happened = gettext("%(state)s since %(time)s") % {"state": happened, "time": f"{first_gone:%H:%M:%S %Z}"}
    if why:
        happened = gettext("%(state)s (%(why)s)") % {"state": happened, "why": why}
    return format_html(
        '{} <a class="underline" href="{}?state__exact={}">{}</a>',
        gettext("%(instances)s: %(state)s.") % {"instances": _named(instances), "state": happened},
        reverse("admin:bridge_instance_changelist"),
        state,
        ngettext("Show it", "Show them", len(instances)),
    )


def holds_of(instances: Iterable[Instance]) -> list[str]:
    """The pool, or those that operators hold: they come back when somebody starts them, and not before."""
    idle = [each for each in instances if each.state not in TAKING_TURNS and each.maintenance is None]
    held = InstanceOrder.held([ALL, *(each.name for each in idle)])
    if ALL in held:
        words = gettext(
            "The pool is paused by order: instances take no turns until it is started, added ones included."
        )
        return [_leads(words, reverse("admin:bridge_instance_resume"), gettext("Start the pool"))]
    found = [each for each in idle if each.name in held]
    if not found:
        return []
    words = gettext("%(instances)s: held by order. Start what is to take turns again.") % {"instances": _named(found)}
    place = reverse("admin:bridge_instance_changelist")
    return [_leads(words, place, ngettext("Show it", "Show them", len(found)))]


def _leads(words: str, place: str, title: str) -> str:
    return format_html('{} <a class="underline" href="{}">{}</a>', words, place, title)


def maintenance_of(instances: Iterable[Instance]) -> list[str]:
    """One line for each window that is open: nobody has to do anything about it."""
    by_window: dict[Maintenance, list[Instance]] = {}
    for each in instances:
        if each.maintenance is not None:
            by_window.setdefault(each.maintenance, []).append(each)
    words = gettext("%(instances)s: in maintenance until %(time)s (%(name)s).")
    return [
        format_html(
            '{} <a class="underline" href="{}">{}</a>',
            words % {"instances": _named(held), "time": clock(window), "name": visible(window.name)},
            reverse("admin:bridge_maintenancewindow_changelist"),
            gettext("Show the window"),
        )
        for window, held in by_window.items()
    ]


def _named(instances: list[Instance]) -> str:
    names = {"count": len(instances), "first": instances[0].name, "last": instances[-1].name}
    match len(instances):
        case 1:
            return gettext("Instance %(first)s") % names
        case 2:
            return gettext("%(count)d instances, %(first)s and %(last)s") % names
        case _:
            return gettext("%(count)d instances, %(first)s to %(last)s") % names


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
    return [Figure(gettext("Turns that wait for a place"), f"{waiting:,}", reverse("admin:bridge_instance_changelist"))]


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
        Figure(gettext("Usage rows to be filed"), backlog, f"{rows}?range=1h"),
    ]
