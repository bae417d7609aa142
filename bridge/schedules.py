"""The periodic tasks of a fresh installation. What an operator changes or switches off stays as it is."""

from __future__ import annotations

from typing import Any, NamedTuple

from django.db import connections
from django.utils.translation import gettext

from accounts.audit.context import unrecorded
from gateway_project.lib.texts import gettext_noop


class Schedule(NamedTuple):
    """A task every `seconds`; a run that has waited for longer than `expires` seconds is dropped."""

    name: str
    task: str
    seconds: int
    expires: int
    description: str
    enabled: bool = True


SCHEDULES = (
    Schedule(
        gettext_noop("Check instances"), "bridge.check_instances", 10, 20,
        "Reads the heartbeats of the Lingma instances.",
    ),
    Schedule(
        gettext_noop("Check alerts"), "bridge.check_alerts", 15, 20,
        "Has alerts about states begin and end, and sends notices.",
    ),
    Schedule(
        gettext_noop("Look after logins"), "bridge.look_after_logins", 10, 20,
        "Has attempts to log in to Lingma begin and end.",
    ),
    # Off: it costs tokens of the operator's accounts, and turns of clients show the same where there are any.
    Schedule(
        gettext_noop("Ask short questions"), "bridge.smoke", 900, 60,
        "Asks each instance one short question, which costs some tokens.", enabled=False,
    ),
    Schedule(
        gettext_noop("Prune usage"), "accounts.prune_usage", 86_400, 600,
        "Deletes usage that is older than the retention.",
    ),
    Schedule(
        gettext_noop("Sum finished days"), "accounts.sum_days", 600, 600,
        "Makes the sums of usage of days that are over.",
    ),
    Schedule(
        gettext_noop("Prune answers of the API"), "accounts.prune_answers", 600, 600,
        "Deletes stored answers to creations.",
    ),
    Schedule(
        gettext_noop("Clean sessions"), "sessions_store.clean", 300, 600,
        "Takes out sessions whose time is over.",
    ),
)  # fmt: skip

NAMES = frozenset(each.name for each in SCHEDULES)
OUTDATED = "File usage rows"  # the worker does it by a clock of its own


def shown_name(name: str) -> str:
    """In the reader's language, if it is one of ours: the table has them in English, and by that they are found."""
    return gettext(name) if name in NAMES else name


def install(using: str = "default", **_: Any) -> None:
    """Add the tasks that are missing; Django calls this at the end of every `migrate`."""
    from django_celery_beat.models import PeriodicTask

    if PeriodicTask._meta.db_table not in connections[using].introspection.table_names():
        return  # another app was migrated alone, before there is a schedule
    with unrecorded():
        _install()


def _install() -> None:
    from django_celery_beat.models import IntervalSchedule, PeriodicTask

    PeriodicTask.objects.filter(name=OUTDATED).delete()
    for each in SCHEDULES:
        if PeriodicTask.objects.filter(name=each.name).exists():
            # Never changed once it is there: the operator may have set another interval or switched it off.
            continue
        every = {"every": each.seconds, "period": IntervalSchedule.SECONDS}
        # Not get_or_create: the table has no unique index, so there may be several of one interval.
        interval = IntervalSchedule.objects.filter(**every).first() or IntervalSchedule.objects.create(**every)
        PeriodicTask.objects.create(
            name=each.name,
            task=each.task,
            interval=interval,
            expire_seconds=each.expires,
            description=each.description,
            enabled=each.enabled,
        )
