"""What is wrong with the service, on the first page of the console: each since when, why, and what to do about it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import takewhile
from typing import Final, NamedTuple, TypeVar

import redis
from django.conf import settings
from django.urls import reverse
from django.utils.html import format_html
from django.utils.text import Truncator
from django.utils.translation import gettext, ngettext

from bridge.admin.maintenance import clock
from bridge.fleet import timelines
from bridge.models import Instance, InstanceOrder
from bridge.models.order import ALL
from bridge.status.accounts import AccountState
from bridge.status.states import TAKING_TURNS, InstanceState
from bridge.status.transitions import Transition, TransitionReason
from bridge.status.wanted import Maintenance
from gateway_project.lib.degraded import STILL_WORKS, WHAT_TO_DO, Mode
from gateway_project.lib.pages.cells import clock_time
from gateway_project.lib.visible import visible

LONGEST_REASON: Final = 160
LATE: Final = 30.0  # seconds; usage rows are filed every two
MOST_STEPS: Final = 50
"""So many of the last steps of each instance are read, to find since when it is as it is."""

K = TypeVar("K")

Steps = Mapping[str, Sequence[Transition]]
"""Of instances by name, the latest first."""


class Trouble(NamedTuple):
    """One line of the page, and when it began, if that is known."""

    line: str
    since: datetime | None = None


def steps_of(instances: Iterable[Instance]) -> Steps:
    """What happened lately to those that take no turns; nothing is known while Redis is away."""
    names = [each.name for each in instances if each.state not in TAKING_TURNS]
    if not names:
        return {}
    try:
        return timelines.recent(settings.REDIS_URL, names, MOST_STEPS)
    except redis.RedisError:
        return {}


def state_since(instance: Instance, steps: Steps) -> datetime | None:
    """When it came into the state that it is in."""
    if instance.state == InstanceState.GONE:
        return instance.seen_at  # the others are seen every second
    return _first(takewhile(lambda step: step.state == instance.state, steps.get(instance.name, ())))


def down_since(instances: Iterable[Instance], steps: Steps) -> datetime | None:
    """When the last of them ceased to take turns; None where one does not tell."""
    ends = [_took_none_since(each, steps) for each in instances]
    known = [each for each in ends if each is not None]
    return max(known) if known and len(known) == len(ends) else None


def _took_none_since(instance: Instance, steps: Steps) -> datetime | None:
    if instance.state == InstanceState.GONE:
        return instance.seen_at
    known = steps.get(instance.name, ())
    idle = list(takewhile(lambda step: step.state not in TAKING_TURNS, known))
    # All that was read: it may have begun before.
    return None if len(idle) == MOST_STEPS else _first(idle)


def _first(steps: Iterable[Transition]) -> datetime | None:
    times = [step.at for step in steps]
    return datetime.fromtimestamp(times[-1], UTC) if times else None


def late_rows(waiting_since: float | None) -> list[Trouble]:
    """Whether usage rows wait for longer than they should."""
    late = time.time() - waiting_since if waiting_since else 0.0
    if late > LATE:
        waited = gettext("Usage rows have waited for %(seconds)d s to be filed. Is the Celery worker running?")
        return [Trouble(waited % {"seconds": round(late)}, datetime.fromtimestamp(time.time() - late, UTC))]
    return []


def trouble_of_mode(mode: Mode) -> Trouble:
    """What is away since when, why, and what still works."""
    since = datetime.fromtimestamp(mode.since, UTC)
    why = Truncator(visible(" ".join((mode.why and gettext(mode.why)).split()))).chars(LONGEST_REASON)
    trouble = gettext("Degraded: %(part)s since %(time)s (%(why)s). Still: %(still)s.")
    still = gettext(STILL_WORKS[mode.name])
    said = trouble % {"part": gettext(mode.name), "time": clock_time(since), "why": why, "still": still}
    return Trouble(f"{said} {gettext(WHAT_TO_DO[mode.name])}", since)


def troubles_of(instances: Sequence[Instance], steps: Steps) -> list[Trouble]:
    """What is broken, what operators hold, and what windows hold: a line for each cause."""
    return [*broken_of(instances, steps), *holds_of(instances, steps), *maintenance_of(instances, steps)]


def needs_a_hand(instance: Instance) -> bool:
    """Whether somebody should look at it: what starts or drains is left alone."""
    return InstanceState(instance.state).needs_attention


def advice_of(instance: Instance) -> str:
    """What to do about it, in English: its account knows best, of one whose account is to blame."""
    state = InstanceState(instance.state)
    # What a service was before it ended tells nothing of why it does not run.
    return (AccountState(instance.account).advice if state.is_up else "") or state.advice


def broken_of(instances: Iterable[Instance], steps: Steps) -> list[Trouble]:
    """One line for all in the same state with the same remedy: the causes are few, and the list has them all."""
    alike = _by(lambda each: (each.state, advice_of(each)), filter(needs_a_hand, instances))
    return [_broken(state, advice, found, steps) for (state, advice), found in alike.items()]


def _broken(state: str, advice: str, instances: list[Instance], steps: Steps) -> Trouble:
    """Which instances, since when, why, as far as one line goes, and what to do; the rest is where it leads."""
    errors = {each.last_error for each in instances if each.last_error}
    why = Truncator(visible(" ".join(gettext(min(errors)).split()))).chars(LONGEST_REASON) if errors else ""
    happened = instances[0].get_state_display()
    if since := _earliest(state_since(each, steps) for each in instances):
        happened = gettext("%(state)s since %(time)s") % {"state": happened, "time": clock_time(since)}
    if why:
        happened = gettext("%(state)s (%(why)s)") % {"state": happened, "why": why}
    words = gettext("%(instances)s: %(state)s.") % {"instances": _named(instances), "state": happened}
    place = f"{reverse('admin:bridge_instance_changelist')}?state__exact={state}"
    return Trouble(_leads(f"{words} {gettext(advice)}", place, _show(instances)), since)


def holds_of(instances: Iterable[Instance], steps: Steps) -> list[Trouble]:
    """The pool, or those that operators hold: they come back when somebody starts them, and not before."""
    idle = [each for each in instances if each.state not in TAKING_TURNS and each.maintenance is None]
    held = InstanceOrder.held_since([ALL, *(each.name for each in idle)])
    if ALL in held:
        return [_paused(held[ALL])]
    found = [each for each in idle if each.name in held]
    if not found:
        return []
    since = _earliest(held[each.name] or state_since(each, steps) for each in found)
    words = gettext("%(instances)s: held by order. Start what is to take turns again.")
    if since:
        words = gettext("%(instances)s: held by order since %(time)s. Start what is to take turns again.")
    said = words % {"instances": _named(found), "time": clock_time(since) if since else ""}
    return [Trouble(_leads(said, reverse("admin:bridge_instance_changelist"), _show(found)), since)]


def _paused(since: datetime | None) -> Trouble:
    words = gettext(
        "The pool is paused by order since %(time)s: instances take no turns until it is started, added ones included."
    )
    said = words % {"time": clock_time(since) if since else "–"}
    return Trouble(_leads(said, reverse("admin:bridge_instance_resume"), gettext("Start the pool")), since)


def maintenance_of(instances: Iterable[Instance], steps: Steps) -> list[Trouble]:
    """One line for each window that is open: nobody has to do anything about it."""
    held = _by(lambda each: each.maintenance, instances)
    return [_maintained(window, found, steps) for window, found in held.items() if window is not None]


def _maintained(window: Maintenance, instances: list[Instance], steps: Steps) -> Trouble:
    since = _earliest(_held_since(each, steps) for each in instances)
    words = gettext("%(instances)s: in maintenance until %(time)s (%(name)s). They take turns again by themselves.")
    if since:
        words = gettext(
            "%(instances)s: in maintenance since %(since)s until %(time)s (%(name)s). "
            "They take turns again by themselves."
        )
    said = words % {
        "instances": _named(instances), "since": clock_time(since) if since else "", "time": clock(window),
        "name": visible(window.name),
    }  # fmt: skip
    place = reverse("admin:bridge_maintenancewindow_changelist")
    return Trouble(_leads(said, place, gettext("Show the window")), since)


def _held_since(instance: Instance, steps: Steps) -> datetime | None:
    """When a window took it; one that was held already stayed in its state."""
    return _first([step for step in steps.get(instance.name, ()) if step.why is TransitionReason.MAINTENANCE][:1])


def _by(key: Callable[[Instance], K], instances: Iterable[Instance]) -> dict[K, list[Instance]]:
    found: dict[K, list[Instance]] = {}
    for each in instances:
        found.setdefault(key(each), []).append(each)
    return found


def _earliest(times: Iterable[datetime | None]) -> datetime | None:
    return min((each for each in times if each is not None), default=None)


def _leads(words: str, place: str, title: str) -> str:
    return format_html('{} <a class="underline" href="{}">{}</a>', words, place, title)


def _show(instances: list[Instance]) -> str:
    return ngettext("Show it", "Show them", len(instances))


def _named(instances: list[Instance]) -> str:
    names = {"count": len(instances), "first": instances[0].name, "last": instances[-1].name}
    match len(instances):
        case 1:
            return gettext("Instance %(first)s") % names
        case 2:
            return gettext("%(count)d instances, %(first)s and %(last)s") % names
        case _:
            return gettext("%(count)d instances, %(first)s to %(last)s") % names
