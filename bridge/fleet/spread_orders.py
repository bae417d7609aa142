"""Orders for a login that the gateway has written itself, where instances get other names with each container."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import AbstractContextManager
from typing import Final

from accounts.audit.context import Source, acting
from accounts.models import AuditEntry
from bridge.models import InstanceOrder
from bridge.status.wanted import Mode

ACTOR: Final = "login spread"
"""Who has given it, in the audit log."""


def by_itself() -> AbstractContextManager[None]:
    return acting(Source.SCHEDULE, ACTOR)


def forget(names: Collection[str]) -> None:
    """Of instances that are gone for good: else each new container would leave a row. What operators order stays."""
    orders = InstanceOrder.objects.filter(name__in=names, mode=Mode.RUN, version=None).exclude(login=None)
    for order in orders:
        told = AuditEntry.objects.filter(object_type=order._meta.label_lower, object_id=order.name)
        last = told.order_by("-at", "-id").first()
        if last is not None and (last.source, last.actor) == (Source.SCHEDULE, ACTOR):
            order.delete()
