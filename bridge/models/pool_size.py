"""How many instances web processes are to have."""

from __future__ import annotations

from typing import Any, ClassVar, Final

from django.db import models
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from bridge.models.order import announce_orders

EVERY_PROCESS: Final = 0


class PoolSize(models.Model):
    """The order for the web process of that number, or for all that have none. Without one, the settings count."""

    process = models.PositiveSmallIntegerField(_("web process"), primary_key=True)
    size = models.PositiveSmallIntegerField(_("instances"))

    class Meta:
        verbose_name = _("number of instances")
        verbose_name_plural = _("numbers of instances")
        default_permissions = ("change", "view")
        ordering: ClassVar = ["process"]

    def __str__(self) -> str:
        return gettext("all web processes") if self.process == EVERY_PROCESS else f"web-{self.process}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        super().save(*args, **kwargs)
        announce_orders()

    def delete(self, *args: Any, **kwargs: Any) -> Any:
        deleted = super().delete(*args, **kwargs)
        announce_orders()
        return deleted
