"""What operators want of instances. Web processes read it and obey; nothing else reaches an instance."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db import models
from django.utils.translation import gettext_lazy as _

from bridge.status.wanted import Mode
from gateway_project.lib import redis_keys
from gateway_project.lib.changes import after_commit


class InstanceOrder(models.Model):
    """The order for the instance of that name, whether it is there or not. Without one, an instance runs."""

    name = models.CharField(_("instance"), max_length=100, primary_key=True)
    mode = models.CharField(
        _("mode"), max_length=8, choices=[(each.value, _(each.label)) for each in Mode], default=Mode.RUN
    )
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
    def held(cls) -> set[str]:
        """The names of the instances that operators do not let take turns."""
        return set(cls.objects.exclude(mode=Mode.RUN).values_list("name", flat=True))


def announce_orders() -> None:
    """Once the transaction is committed, make every web process read what is wanted of its instances."""
    after_commit("instances", "INCR", redis_keys.ORDERS)
