"""The first page of the console: what is broken, above what `accounts` tells of keys and turns."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import redis
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from accounts import dashboard as access
from accounts.tasks import turns_wait_since
from bridge import tasks
from bridge.models import Instance

LATE = 30.0  # seconds; usage rows are filed every two
MISSED = timedelta(hours=1)  # how long an instance that is gone counts as one there should be


def dashboard(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Add the instances and what needs a hand to the context of the index page."""
    context = access.dashboard(request, context)
    if not request.user.has_perm("bridge.view_instance"):
        return context
    troubles = broken_parts()
    instances = [each for each in Instance.objects.order_by("process", "name") if not long_gone(each)]
    return context | {
        "troubles": [*troubles, *map(trouble_of, filter(needs_a_hand, instances))],
        "figures": [instance_figure(instances), *context["figures"]],
    }


def broken_parts() -> list[str]:
    """What is wrong with the parts every instance needs. Brings the instances in the database up to date."""
    try:
        tasks.check_instances()
        waiting_since = turns_wait_since()
    except redis.RedisError as exc:
        return [f"Redis cannot be reached: {exc}. The page shows what was known before."]
    late = time.time() - waiting_since if waiting_since else 0.0
    if late > LATE:
        return [f"Usage rows have waited for {late:.0f} s to be filed. Is the Celery worker running?"]
    return []


def long_gone(instance: Instance) -> bool:
    """Whether it was taken away rather than lost; the list of instances shows it for a while still."""
    return instance.state == Instance.State.GONE and timezone.now() - instance.seen_at > MISSED


def needs_a_hand(instance: Instance) -> bool:
    """Whether somebody should look at it: what starts or drains is left alone."""
    return instance.state in {Instance.State.LOGIN_REQUIRED, Instance.State.BACKOFF, Instance.State.GONE}


def trouble_of(instance: Instance) -> str:
    """One line."""
    told = f"Instance {instance.name}: {instance.get_state_display()}"
    return f"{told} ({instance.last_error})" if instance.last_error else told


def instance_figure(instances: list[Instance]) -> dict[str, str]:
    """How many can take a turn, of those there should be."""
    ready = sum(instance.state == Instance.State.READY for instance in instances)
    return {
        "name": "Instances ready",
        "value": f"{ready} / {len(instances)}",
        "href": reverse("admin:bridge_instance_changelist"),
        "tone": "good" if instances and ready == len(instances) else "bad",
    }
