"""What operators want of instances. Web processes read it and obey; nothing else reaches an instance."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any, ClassVar, Final

from django.db import models
from django.utils.translation import gettext_lazy as _

from bridge.status.wanted import Mode
from gateway_project.lib.changes import after_commit
from gateway_project.lib.redis import redis_keys

NEVER: Final = datetime.min.replace(tzinfo=UTC)
ALL: Final = "all"
"""In place of the name of an instance: whatever there is and will be. It is held by one row, so that nothing that
starts later is left out."""


class InstanceOrder(models.Model):
    """The order for the instance of that name, whether it is there or not. Without one, an instance runs.

    Of its own mode and that of ALL the one counts that was ordered last.
    """

    name = models.CharField(_("instance"), max_length=100, primary_key=True)
    mode = models.CharField(
        _("mode"), max_length=8, choices=[(each.value, _(each.label)) for each in Mode], default=Mode.RUN
    )
    mode_at = models.DateTimeField(_("mode ordered at"), null=True, blank=True)
    restart_before = models.DateTimeField(_("restarted at"), null=True, blank=True)
    cool_until = models.DateTimeField(_("cools down until"), null=True, blank=True)
    cleared_at = models.DateTimeField(_("cleared at"), null=True, blank=True)
    smoke_at = models.DateTimeField(_("smoke chat asked for at"), null=True, blank=True)
    login = models.ForeignKey(
        "bridge.Login", models.SET_NULL, null=True, blank=True, related_name="orders", verbose_name=_("login")
    )
    version = models.ForeignKey(
        "bridge.Version", models.PROTECT, null=True, blank=True, related_name="orders", verbose_name=_("version")
    )

    class Meta:
        verbose_name = _("order")
        verbose_name_plural = _("orders")
        ordering: ClassVar = ["name"]

    def __str__(self) -> str:
        return self.name

    def save(self, *args: Any, **kwargs: Any) -> None:
        super().save(*args, **kwargs)
        announce_orders()

    @classmethod
    def held(cls, names: Collection[str]) -> set[str]:
        """Those of these instances that operators do not let take turns."""
        return set(cls.held_since(names))

    @classmethod
    def held_since(cls, names: Collection[str]) -> dict[str, datetime | None]:
        """The same, and when that was ordered, if it is known."""
        rows = {row.name: row for row in cls.objects.filter(name__in=[*names, ALL]).only("name", "mode", "mode_at")}
        last = {name: _last_of(rows.get(name), rows.get(ALL)) for name in names}
        return {name: order.mode_at for name, order in last.items() if order and order.mode != Mode.RUN}


def mode_of(own: InstanceOrder | None, of_all: InstanceOrder | None) -> Mode:
    """What counts for an instance with these orders."""
    last = _last_of(own, of_all)
    return Mode.RUN if last is None else Mode(last.mode)


def _last_of(own: InstanceOrder | None, of_all: InstanceOrder | None) -> InstanceOrder | None:
    given = [each for each in (own, of_all) if each is not None]
    # A mode without a time is older than any with one: that of ALL always has one.
    return max(given, key=lambda each: each.mode_at or NEVER, default=None)


def announce_orders() -> None:
    """Once the transaction is committed, make every web process read what is wanted of its instances."""
    after_commit("instances", "INCR", redis_keys.ORDERS)
