"""The service on the first page of the console: what is broken, and how many instances are ready."""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import redis
from django.conf import settings
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.text import Truncator

from accounts.ledger import services as ledger
from bridge.fleet import mirror, modes
from bridge.models import Instance
from bridge.status.states import InstanceState
from gateway_project.lib.degraded import STILL_WORKS, Facts
from gateway_project.lib.live_rows import AWAY
from gateway_project.lib.panels import Figure, Panel
from gateway_project.lib.visible import visible

LONGEST_REASON = 160
LATE = 30.0  # seconds; usage rows are filed every two
MISSED = timedelta(hours=1)  # how long an instance that is gone counts as one there should be


def panel(request: HttpRequest) -> Panel | None:
    """The instances and what needs a hand; None for who may not see instances."""
    if not request.user.has_perm("bridge.view_instance"):
        return None
    instances, troubles = instances_now()
    instances = [each for each in instances if not long_gone(each)]
    return Panel(
        position=10,
        troubles=[*map(trouble_of_mode, modes.active()), *troubles, *troubles_of(filter(needs_a_hand, instances))],
        figures=[instance_figure(instances)],
    )


def instances_now() -> tuple[list[Instance], list[str]]:
    """The instances in order, and what is wrong with the parts that all of them need."""
    url = settings.REDIS_URL
    try:
        instances, troubles = mirror.current(url), late_rows(ledger.waiting_since(url))
    except redis.RedisError as exc:
        instances = list(Instance.objects.all())
        troubles = [f"{AWAY.format(exc)}. The page shows what was known before."]
    return sorted(instances, key=lambda each: (each.process, each.name)), troubles


def late_rows(waiting_since: float | None) -> list[str]:
    """Whether usage rows wait for longer than they should."""
    late = time.time() - waiting_since if waiting_since else 0.0
    if late > LATE:
        return [f"Usage rows have waited for {late:.0f} s to be filed. Is the Celery worker running?"]
    return []


def trouble_of_mode(mode: Facts) -> str:
    """What is away since when, why, and what still works."""
    since = timezone.localtime(datetime.fromtimestamp(mode.since, UTC))
    why = Truncator(visible(" ".join(mode.why.split()))).chars(LONGEST_REASON)
    return f"Degraded: {mode.name} since {since:%H:%M:%S %Z} ({why}). Still: {STILL_WORKS[mode.name]}."


def long_gone(instance: Instance) -> bool:
    """Whether it was taken away rather than lost; the list of instances shows it for a while still."""
    return instance.state == InstanceState.GONE and timezone.now() - instance.seen_at > MISSED


def needs_a_hand(instance: Instance) -> bool:
    """Whether somebody should look at it: what starts or drains is left alone."""
    return InstanceState(instance.state).is_trouble


def troubles_of(instances: Iterable[Instance]) -> list[str]:
    """One line for each state, however many instances are in it: the causes are few, and the list has them all."""
    by_state: dict[str, list[Instance]] = {}
    for each in instances:
        by_state.setdefault(each.state, []).append(each)
    return [trouble_of(state, alike) for state, alike in by_state.items()]


def trouble_of(state: str, instances: list[Instance]) -> str:
    """Which instances, since when, and why, as far as one line goes; the rest is where it leads."""
    first, *others = (each.name for each in instances)
    span = "to" if others[1:] else "and"
    which = f"{len(instances)} instances, {first} {span} {others[-1]}" if others else f"Instance {first}"
    errors = {each.last_error for each in instances if each.last_error}
    why = Truncator(visible(" ".join(min(errors).split()))).chars(LONGEST_REASON) if errors else ""
    return format_html(
        '{}: {}{}{}. <a class="underline" href="{}?state__exact={}">Show {}</a>',
        which,
        instances[0].get_state_display(),
        _since(state, instances),
        f" ({why})" if why else "",
        reverse("admin:bridge_instance_changelist"),
        state,
        "them" if others else "it",
    )


def _since(state: str, instances: list[Instance]) -> str:
    if state != InstanceState.GONE:
        return ""
    return f" since {timezone.localtime(min(each.seen_at for each in instances)):%H:%M:%S %Z}"


def instance_figure(instances: list[Instance]) -> Figure:
    """How many can take a turn, of those there should be."""
    ready = sum(instance.state == InstanceState.READY for instance in instances)
    tone = "good" if instances and ready == len(instances) else "bad"
    return Figure("Instances ready", f"{ready} / {len(instances)}", reverse("admin:bridge_instance_changelist"), tone)
